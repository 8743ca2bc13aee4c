"""Measures candidates in one long-lived process, started anew only when a candidate kills it.

As MetaSchedule's LocalRunner it means to take 100 ms for each candidate, but only for those that
may become the best: a slow one is known for slow after 10 ms, or after its first call.
"""

from __future__ import annotations

import math
import os
import signal
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from pytest_tvmtune.relax.tuner.forks import fork, pipe

# MetaSchedule's EvaluatorConfig: min_repeat_ms=100; here in thirds, of which the median counts.
FULL_S = 0.1
REPEATS = 3
SHORT_S = 0.01
# Slower than the best by this much: not worth a short look, or a full one.
_HOPELESS = 5.0
_SLOW = 1.5
# TVM never unmaps a library, so the process is replaced now and then.
_MOST_LIBRARIES = 200
_START_S = 60.0
_KILLED = "run: crashed with SIGKILL"


@dataclass(frozen=True, kw_only=True)
class Measured:
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
            self._connection, other = pipe()
            self._process = fork("tvmtune-runner", _serve, other)
            other.close()
            self._measured = 0

    def measure(
        self, library: Path, args_info: Any, device_kind: str, *, best_s: float
    ) -> Measured:
        """Return how long one call of a candidate takes; its crash or hang costs it alone.

        args_info: MetaSchedule's JSON of the arguments. best_s: of this task so far, infinity
        at first. Where the process was killed from outside (by hand, for want of memory), the
        candidate is not to blame: it is measured once more.
        """
        message = (str(library), args_info, device_kind, best_s)
        measured = self._measure(message)
        return self._measure(message) if measured.problem == _KILLED else measured

    def _measure(self, message: tuple[Any, ...]) -> Measured:
        if self._measured >= _MOST_LIBRARIES:
            self.close()
        fresh = self._process is None
        self.start()
        self._measured += 1
        try:
            self._connection.send(message)
            # A fresh process answers late: the server may still be importing.
            if not self._connection.poll(self._timeout_s + (_START_S if fresh else 0)):
                self.close()
                return Measured(problem=f"run: time-out after {self._timeout_s:g} s")
            answer = self._connection.recv()
        except (EOFError, OSError):
            return Measured(problem=f"run: {self._how_it_ended()}")
        if "run_s" not in answer:
            return Measured(problem=f"run: {answer['problem']}")
        self.num_threads = answer["num_threads"]
        return Measured(run_s=answer["run_s"])

    def close(self) -> None:
        """End the process."""
        if self._process is not None:
            self._process.kill()
            self._process.join()
            self._connection.close()
            self._process = None

    def _how_it_ended(self) -> str:
        self._process.join(5)
        code = self._process.exitcode
        self.close()
        if code is not None and code < 0:
            return f"crashed with {signal.Signals(-code).name}"
        return f"ended with exit code {code}"


def _serve(connection: Any) -> None:
    """Measure whatever comes, until the other end is closed."""
    arguments: dict[str, Any] = {}
    while True:
        try:
            library, args_info, device_kind, best_s = connection.recv()
        except EOFError:
            # Out at once: TVM's thread pool can hang in static destructors.
            os._exit(0)
        try:
            answer = _measure(library, args_info, device_kind, best_s, arguments)
        except Exception as error:  # noqa: BLE001  whatever a candidate does is its result
            lines = str(error).strip().splitlines() or [""]
            answer = {"problem": f"{type(error).__name__}: {lines[-1]}"}
        connection.send(answer)


def _measure(
    library: str, args_info: Any, device_kind: str, best_s: float, arguments: dict[str, Any]
) -> dict[str, Any]:
    import tvm
    from tvm.s_tir.meta_schedule.runner.local_runner import default_alloc_argument

    module = tvm.runtime.load_module(library)
    device = tvm.runtime.device(device_kind, 0)
    # Candidates of one task come together and share their tensors: their placement differs less.
    if arguments.get("info") != args_info:
        arguments.clear()
        arguments["tensors"] = default_alloc_argument(device, args_info, 1)[0]
        arguments["info"] = args_info

    def sample(number: int, repeat: int = 1) -> float:
        """Return seconds of one call; time_evaluator adds one that it doesn't time."""
        timer = module.time_evaluator(module.entry_name, device, number=number, repeat=repeat)
        return float(median(timer(*arguments["tensors"]).results))

    def calls_for(seconds: float) -> int:
        return max(1, math.ceil(seconds / max(run_s, 1e-8)))

    run_s = sample(1)
    if run_s < SHORT_S and run_s < _HOPELESS * best_s:
        run_s = sample(calls_for(SHORT_S))
    if run_s < _SLOW * best_s:
        run_s = sample(calls_for(FULL_S / REPEATS), REPEATS)
    num_threads = int(tvm.get_global_func("runtime.NumThreads")())
    return {"run_s": run_s, "num_threads": num_threads}
