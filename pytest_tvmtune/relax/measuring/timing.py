"""Timing calls of a loaded entry function."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from pytest_tvmtune.core.clock import monotonic_s
from pytest_tvmtune.processes.shared_arrays import release_pages
from pytest_tvmtune.relax.devices.machine import Machine

if TYPE_CHECKING:
    from pytest_tvmtune.relax.measuring.session import Session

# Mean seconds of one call, over so many calls.
Timer = Callable[[int], float]
_SAVED = "pytest_tvmtune_timed"
# What a process takes after its turn comes until it's as fast as without turns: a model of 0.05 ms
# was 5 % slower after 0.5 ms, and not after this. A sample that is ten times as long needs none.
_WARM_S = 0.005


def make_timer(
    machine: Machine,
    vm: Any,
    entry: str,
    arguments: Sequence[Any],
    *,
    saved_as: str = _SAVED,
    cold_cache: bool = False,
) -> Timer:
    """Return f(number) -> mean seconds of one call over `number` calls of `entry`.

    Several calls are timed by TVM's `time_evaluator`, without Python between them, after one that
    isn't timed. A single one is timed without a second: it is long. cold_cache: empty the caches
    before each call, outside of the time taken.
    """
    vm.save_function(entry, saved_as, *arguments, include_return=False)

    def timer(number: int) -> float:
        if number > 1 and not cold_cache:
            evaluate = vm.module.time_evaluator(saved_as, machine.device, number=number, repeat=1)
            return float(evaluate().results[0])
        return machine.seconds(vm, saved_as, number, cold_cache=cold_cache)

    return timer


def sample_after_others(timer: Timer, number: int) -> float:
    """Return the mean seconds of a call, after the caches were another process's.

    number: calls a sample. Samples of the first milliseconds don't count, unless one is long.
    """
    started_s = monotonic_s()
    mean_s = timer(number)
    if monotonic_s() - started_s > 10 * _WARM_S:
        return mean_s
    while monotonic_s() - started_s < _WARM_S:
        timer(number)
    return timer(number)


def calls_per_sample(one_call_s: float, min_sample_s: float) -> int:
    """Return how many calls make a sample of at least `min_sample_s`."""
    return max(1, math.ceil(min_sample_s / max(one_call_s, 1e-7)))


def sample(session: Session, *, samples: int, min_sample_s: float, budget_s: float) -> list[float]:
    """Return up to `samples` seconds per call, each averaged over at least `min_sample_s`.

    At least one sample is taken, regardless of the budget.
    """
    timer = make_timer(
        session.machine, session.vm, session.entry, (*session.inputs, *session.params)
    )
    timer(1)
    number = calls_per_sample(timer(1), min_sample_s)
    deadline = monotonic_s() + budget_s
    taken = [timer(number)]
    while len(taken) < samples and monotonic_s() < deadline:
        taken.append(timer(number))
    release_pages(session.arrays)
    return taken
