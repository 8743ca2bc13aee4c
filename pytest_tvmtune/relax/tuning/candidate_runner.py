"""Measures candidates in one long-lived process, started anew only when a candidate kills it.

As MetaSchedule's LocalRunner it means to take 100 ms for each candidate, but only for those that
may become the best: a slow one is known for slow after 10 ms, or after its first call.
"""

from __future__ import annotations

import math
import random
import signal
import subprocess
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from pytest_tvmtune.core.error_text import typed_cause_of
from pytest_tvmtune.relax.tuning.candidate_builder import KILLED
from pytest_tvmtune.relax.tuning.tuner_forks import fork

# MetaSchedule's EvaluatorConfig: min_repeat_ms=100; here in thirds, of which the median counts.
FULL_S = 0.1
REPEATS = 3
SHORT_S = 0.01
# Slower than the best by this much: not worth a short look, or a full one.
_HOPELESS = 5.0
_SLOW = 1.5
# Samples of SHORT_S that each finalist gets.
TURNS, LEAST_TURNS = 9, 3
FINALS_S = 5.0
# Sets of arguments kept at a time: those of one task's candidates differ in layout only.
_MOST_TENSORS = 2
Tensors = dict[str, list[Any]]
# TVM never unmaps a library, so the process is replaced now and then.
_MOST_LIBRARIES = 200
_START_S = 60.0


@dataclass(frozen=True, kw_only=True)
class MeasuredCandidate:
    """Seconds of one call, or why there are none."""

    run_s: float | None = None
    problem: str = ""


class Runner:
    """A measuring process and the connection to it; `close` ends it.

    timeout_s: for one candidate. num_threads: what TVM's runtime really uses there, known once
    something was measured.
    """

    def __init__(self, *, timeout_s: float) -> None:
        self._timeout_s = timeout_s
        self._process: Any = None
        self._connection: Any = None
        self._measured = 0
        self.num_threads = 0

    def start(self) -> None:
        """Fork the process, if there is none, so that it is ready when the first library is."""
        if self._process is None:
            self._process, self._connection = fork("tvmtune-runner", _serve)
            self._measured = 0

    def measure(
        self, library: Path, args_info: Any, device_kind: str, *, best_s: float
    ) -> MeasuredCandidate:
        """Return how long one call of a candidate takes; its crash or hang costs it alone.

        args_info: MetaSchedule's JSON of the arguments. best_s: of this task so far, infinity
        at first. Where the process was killed from outside (by hand, for want of memory), the
        candidate is not to blame: it is measured once more.
        """
        call = (measure_one, (str(library), args_info, device_kind, best_s))
        answer = self._ask(*call)
        if answer.get("problem") == KILLED:
            answer = self._ask(*call)
        if "problem" in answer:
            return MeasuredCandidate(problem=f"run: {answer['problem']}")
        self.num_threads = answer["num_threads"]
        return MeasuredCandidate(run_s=answer["run_s"])

    def compare(self, sides: Sequence[tuple[Path, Any]], device_kind: str) -> list[float]:
        """Return the seconds of one call of several candidates, measured in turn and at random.

        sides: library and args_info of each. Measured together, they differ by their own speed,
        not by the state of the machine at the time. Empty where that fails.
        """
        told = [(str(library), args_info) for library, args_info in sides]
        answer = self._ask(measure_in_turn, (told, device_kind))
        return list(answer.get("run_secs", ()))

    def _ask(self, function: Callable[..., Any], arguments: tuple[Any, ...]) -> dict[str, Any]:
        """Call a function in the process; return its answer, or {"problem"}."""
        # A candidate that ran well may have left a process that died since.
        worn = self._measured >= _MOST_LIBRARIES
        if self._process is not None and (worn or self._process.poll() is not None):
            self.close()
        fresh = self._process is None
        self.start()
        self._measured += 1
        try:
            self._connection.send((function, arguments))
            # A fresh process answers late: the server may still be importing.
            if not self._connection.poll(self._timeout_s + (_START_S if fresh else 0)):
                self.close()
                return {"problem": f"time-out after {self._timeout_s:g} s"}
            return dict(self._connection.recv())
        except (EOFError, OSError):
            return {"problem": self._how_it_ended()}

    def close(self) -> None:
        """End the process."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._connection.close()
            self._process = None

    def _how_it_ended(self) -> str:
        code = None
        with suppress(subprocess.TimeoutExpired):
            code = self._process.wait(5)
        self.close()
        if code is not None and code < 0:
            return f"crashed with {signal.Signals(-code).name}"
        return f"ended with exit code {code}"


def _serve(connection: Any) -> None:
    """Call each requested function, until the other end is closed."""
    tensors: Tensors = {}
    while True:
        try:
            function, arguments = connection.recv()
        except EOFError:
            return
        try:
            answer = function(*arguments, tensors)
        except Exception as error:  # noqa: BLE001  whatever a candidate does is its result
            tensors.clear()  # it may have been for want of memory
            answer = {"problem": typed_cause_of(error)}
        connection.send(answer)


def measure_one(
    library: str, args_info: Any, device_kind: str, best_s: float, tensors: Tensors
) -> dict[str, Any]:
    """Return {"run_s", "num_threads"}: a candidate's time, the longer the better it is."""
    import tvm

    sample = _sampler(library, args_info, device_kind, tensors)
    # The better of two: one that was interrupted must not condemn a candidate.
    run_s = min(sample(1), sample(1))
    if run_s < SHORT_S and run_s < _HOPELESS * best_s:
        run_s = sample(_calls(SHORT_S, run_s))
    if run_s < min(FULL_S, _SLOW * best_s):
        run_s = sample(_calls(FULL_S / REPEATS, run_s), REPEATS)
    num_threads = int(tvm.get_global_func("runtime.NumThreads")())
    return {"run_s": run_s, "num_threads": num_threads}


def measure_in_turn(
    sides: Sequence[tuple[str, Any]], device_kind: str, tensors: Tensors
) -> dict[str, Any]:
    """Return {"run_secs"}: the median of each side's samples, taken in turn and random order."""
    samplers = [_sampler(*side, device_kind, tensors) for side in sides]
    first = [sampler(1) for sampler in samplers]
    numbers = [_calls(SHORT_S, run_s) for run_s in first]
    turn_s = 2 * sum(max(SHORT_S, run_s) for run_s in first)
    taken: list[list[float]] = [[] for _ in sides]
    # Fewer for slow kernels, whose samples are steadier too.
    for _ in range(max(LEAST_TURNS, min(TURNS, int(FINALS_S / turn_s)))):
        for index in random.sample(range(len(sides)), len(sides)):
            taken[index].append(samplers[index](numbers[index]))
    return {"run_secs": [median(one) for one in taken]}


def _sampler(
    library: str, args_info: Any, device_kind: str, tensors: Tensors
) -> Callable[..., float]:
    """Return f(number, repeat=1) -> seconds of one call, the median of the repeats."""
    import numpy as np
    import tvm
    from tvm.s_tir.meta_schedule.runner.local_runner import default_alloc_argument

    module = tvm.runtime.load_module(library)
    device = tvm.runtime.device(device_kind, 0)
    # Candidates of one task come together and share their tensors: their placement differs less.
    key = repr(args_info)
    if key not in tensors:
        if len(tensors) >= _MOST_TENSORS:
            tensors.clear()
        tensors[key] = default_alloc_argument(device, args_info, 1)[0]
        for tensor in tensors[key]:
            # Made up at random, an index would point anywhere.
            if "int" in str(tensor.dtype):
                tensor.copyfrom(np.zeros(tensor.shape, str(tensor.dtype)))
    given = tensors[key]

    def sample(number: int, repeat: int = 1) -> float:
        # time_evaluator adds a call that it doesn't time.
        timer = module.time_evaluator(module.entry_name, device, number=number, repeat=repeat)
        return float(median(timer(*given).results))

    return sample


def _calls(seconds: float, run_s: float) -> int:
    return max(1, math.ceil(seconds / max(run_s, 1e-8)))
