"""Timing candidates, in the process that does nothing else: each call of a Runner comes here."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from pytest_tvmtune.core.clock import monotonic_s
from pytest_tvmtune.core.tensors.dtypes import dtype_of
from pytest_tvmtune.machine.remote_device import RemoteDevice
from pytest_tvmtune.relax.devices.machine import RANDOM_FILL, Machine, ThisMachine
from pytest_tvmtune.relax.devices.remote_machine import RemoteMachine, open_remote

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
_ENTRY = "main"
# A device's session is replaced when it is so old: its server ends it at SESSION_S, which frees a
# device on which a candidate hangs.
_OLD_S = 60.0
SESSION_S = 180.0


class MeasuringState:
    """Where candidates are measured, with arguments for them.

    remote: None for this process. kind: of the device. num_threads: of TVM's runtime on a device.
    """

    def __init__(self, remote: RemoteDevice | None, kind: str, num_threads: int) -> None:
        self._remote, self._kind, self._num_threads = remote, kind, num_threads
        self._machine: Machine | None = None if remote else ThisMachine(kind)
        self._tensors: dict[str, list[Any]] = {}
        self._old_at_s = 0.0

    @property
    def machine(self) -> Machine:
        """Where candidates are measured; a device has to be had first."""
        assert self._machine is not None
        return self._machine

    def have_device(self) -> None:
        """Wait for a device, and hold it. Raises DeviceError."""
        if self._remote is None or (self._machine is not None and monotonic_s() < self._old_at_s):
            return
        self.release_device()
        wait_s = max(self._remote.wait_s, SESSION_S)
        self._machine = open_remote(
            replace(self._remote, wait_s=wait_s),
            kind=self._kind,
            num_threads=self._num_threads,
            session_s=SESSION_S,
        )
        self._old_at_s = monotonic_s() + _OLD_S

    def release_device(self) -> None:
        """Let others have the device."""
        self.forget_arguments()
        if isinstance(self._machine, RemoteMachine):
            self._machine.close()
            self._machine = None

    def forget_arguments(self) -> None:
        """Free the arguments."""
        self._tensors.clear()

    def arguments(self, args_info: Any) -> list[Any]:
        """Return the arguments of a candidate.

        Candidates of one task come together and share them: their placement differs less.
        """
        key = repr(args_info)
        if key not in self._tensors:
            if len(self._tensors) >= _MOST_TENSORS:
                self._tensors.clear()
            self._tensors[key] = [_argument(self.machine, *info) for info in args_info]
        return self._tensors[key]


def _argument(machine: Machine, _kind: str, dtype: str, shape: Sequence[int]) -> Any:
    import tvm

    tensor = tvm.runtime.empty(shape, dtype, machine.device)
    if "int" in dtype:
        # Made up at random, an index would point anywhere.
        return tensor.copyfrom(np.zeros(tensor.shape, dtype))
    fill = machine.function(RANDOM_FILL)
    if fill is None:  # a server without TVM's additional libraries
        values = np.random.default_rng(0).uniform(1, 10, tensor.shape)
        return tensor.copyfrom(values.astype(dtype_of(dtype)))
    fill(tensor)
    return tensor


def have_device(state: MeasuringState) -> dict[str, Any]:
    """Hold a device; return {}."""
    state.have_device()
    return {}


def release_device(state: MeasuringState) -> dict[str, Any]:
    """Let others have the device; return {}."""
    state.release_device()
    return {}


def measure_one(
    library: str, args_info: Any, best_s: float, state: MeasuringState
) -> dict[str, Any]:
    """Return {"run_s", "num_threads"}: a candidate's time, the longer the better it is."""
    state.have_device()
    sample = _sampler(library, args_info, state)
    # The better of two: one that was interrupted must not condemn a candidate.
    run_s = min(sample(1), sample(1))
    if run_s < SHORT_S and run_s < _HOPELESS * best_s:
        run_s = sample(_calls(SHORT_S, run_s))
    if run_s < min(FULL_S, _SLOW * best_s):
        run_s = sample(_calls(FULL_S / REPEATS, run_s), REPEATS)
    return {"run_s": run_s, "num_threads": state.machine.num_threads_used()}


def measure_in_turn(sides: Sequence[tuple[str, Any]], state: MeasuringState) -> dict[str, Any]:
    """Return {"run_secs"}: the median of each side's samples, taken in turn and random order."""
    state.have_device()
    samplers = [_sampler(*side, state) for side in sides]
    first = [sampler(1) for sampler in samplers]
    numbers = [_calls(SHORT_S, run_s) for run_s in first]
    turn_s = 2 * sum(max(SHORT_S, run_s) for run_s in first)
    taken: list[list[float]] = [[] for _ in sides]
    # Fewer for slow kernels, whose samples are steadier too.
    for _ in range(max(LEAST_TURNS, min(TURNS, int(FINALS_S / turn_s)))):
        for index in random.sample(range(len(sides)), len(sides)):
            taken[index].append(samplers[index](numbers[index]))
    return {"run_secs": [median(one) for one in taken]}


def _sampler(library: str, args_info: Any, state: MeasuringState) -> Callable[..., float]:
    """Return f(number, repeat=1) -> seconds of one call, the median of the repeats."""
    machine = state.machine
    module = machine.load(Path(library))
    given = state.arguments(args_info)

    def sample(number: int, repeat: int = 1) -> float:
        # time_evaluator adds a call that it doesn't time.
        timer = module.time_evaluator(_ENTRY, machine.device, number=number, repeat=repeat)
        return float(median(timer(*given).results))

    return sample


def _calls(seconds: float, run_s: float) -> int:
    return max(1, math.ceil(seconds / max(run_s, 1e-8)))
