"""Epochs: both artifacts of a comparison placed anew, and timed in interleaved pairs."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from pytest_tvmtune.core.clock import monotonic_s
from pytest_tvmtune.core.gating.confidence_sequence import Epoch
from pytest_tvmtune.core.job_stage import LOADING_BASELINE, JobStage
from pytest_tvmtune.processes.job import WorkerContext
from pytest_tvmtune.processes.shared_arrays import releasing_pages
from pytest_tvmtune.relax.devices.machine import Machine
from pytest_tvmtune.relax.measuring.job_machine import open_machine
from pytest_tvmtune.relax.measuring.placement import (
    LoadedCopies,
    MeasuredLibrary,
    PairedMeasurement,
    match_params,
    place,
)
from pytest_tvmtune.relax.measuring.session import EntryCall, Session, call, open_requested
from pytest_tvmtune.relax.measuring.timing import Timer, calls_per_sample
from pytest_tvmtune.store.artifacts import Artifact

# Shorter than what the scheduler gives at a time, so that few samples are interrupted, and enough
# pairs an epoch to outvote those; measured in docs/explanation/gate-evaluation.md.
MIN_SAMPLE_S = 0.0005
_PAIRS_S = 0.015
MOST_PAIRS = 7
_MOST_WARM_UP_S = 1.0
_STABLE = 0.05


class Arrangement(Protocol):
    """Both sides of a comparison, ready to be timed; `enter` puts the parameters in their place."""

    @property
    def enter(self) -> Callable[[], None]: ...  # noqa: D102

    @property
    def timers(self) -> tuple[Timer, Timer]: ...  # noqa: D102


@dataclass(frozen=True, kw_only=True, eq=False)
class ArtifactPair:
    """A baseline, what is compared with it, and the call that both are measured by.

    cold_cache: the caches are emptied before each call. seed: of all that is random.
    """

    baseline: Artifact
    now: Artifact
    call: EntryCall
    cold_cache: bool
    seed: int


def open_measurement(pair: ArtifactPair, context: WorkerContext[None]) -> PairedMeasurement:
    """Load both sides and transform their parameters.

    The baseline is called once, here: what crashes in it is the baseline's, not the run's.

    Args:
        pair: Both sides.
        context: Of this process.

    Returns:
        Both sides, loaded.

    Raises:
        CompileError: A library doesn't take what its model promised.

    """
    machine = open_machine(pair.call, context)
    is_same = pair.baseline.library == pair.now.library
    if not is_same:
        context.enter_stage(LOADING_BASELINE)
        accepted = _open(pair, pair.baseline, machine, context)
        call(accepted)
    context.enter_stage(JobStage("loading this run's artifact"))
    opened = _open(pair, pair.now, machine, context)
    if is_same:
        accepted = opened  # a large model may not fit twice
    baseline, now = (
        MeasuredLibrary(library=side.library, params=session.params, arrays=session.arrays)
        for side, session in ((pair.baseline, accepted), (pair.now, opened))
    )
    with releasing_pages((*baseline.arrays, *now.arrays)):
        shared, traded = match_params(baseline.params, now.params)
    return PairedMeasurement(
        entry=pair.call.entry,
        machine=machine,
        baseline=baseline,
        now=now,
        inputs=accepted.inputs,
        shared=shared,
        traded=traded,
        cold_cache=pair.cold_cache,
    )


def _open(
    pair: ArtifactPair, side: Artifact, machine: Machine, context: WorkerContext[None]
) -> Session:
    return open_requested(pair.call, machine, side.library, side.manifest, scratch=context.folder)


def warm_up(
    measurement: PairedMeasurement, copies: LoadedCopies, rng: random.Random
) -> tuple[int, float]:
    """Call both sides until their times are stable.

    Returns how many calls make a sample, and the seconds that a pair of samples takes.
    """
    return settle(place(measurement, copies, rng)[0], single_calls=measurement.cold_cache)


def settle(arrangement: Arrangement, *, single_calls: bool) -> tuple[int, float]:
    """Call both sides until their times are stable; return as `warm_up`.

    single_calls: whether a sample is one call, as with cold caches.
    """
    arrangement.enter()
    deadline = monotonic_s() + _MOST_WARM_UP_S
    rounds: list[tuple[float, ...]] = []
    number = 1
    while True:
        rounds.append(tuple(timer(number) for timer in arrangement.timers))
        number = 1 if single_calls else calls_per_sample(min(rounds[-1]), MIN_SAMPLE_S)
        recent = list(zip(*rounds[-3:], strict=True))
        stable = all(max(times) <= (1 + _STABLE) * min(times) for times in recent)
        if (len(rounds) >= 4 and stable) or monotonic_s() > deadline:
            return number, _pair_s(arrangement.timers, number)


def pairs_per_epoch(
    pair_s: float, *, budget_s: float = _PAIRS_S, most_pairs: int = MOST_PAIRS
) -> int:
    """Return how many pairs an epoch has, where one takes so long."""
    return max(1, min(most_pairs, int(budget_s / pair_s)))


def _pair_s(timers: Sequence[Timer], number: int) -> float:
    """Return the seconds of a pair, the shortest of several, because some may be interrupted."""
    taken: list[float] = []
    while len(taken) < 3 and sum(taken) < _PAIRS_S:
        started = monotonic_s()
        for timer in timers:
            timer(number)
        taken.append(monotonic_s() - started)
    return min(taken)


def interleave(
    arrangements: Sequence[Arrangement], rng: random.Random, *, number: int, pairs: int
) -> Epoch:
    """Return an epoch of interleaved pairs, each in random order.

    number: calls a sample. pairs: at least so many; where parameters trade places, as many each
    way.
    """
    taken: tuple[list[float], list[float]] = ([], [])
    for arrangement in arrangements:
        arrangement.enter()
        _touch(arrangement.timers, rng)
        for _ in range(math.ceil(pairs / len(arrangements))):
            for side in rng.sample((0, 1), 2):
                taken[side].append(arrangement.timers[side](number))
    return Epoch(baseline_s=tuple(taken[0]), now_s=tuple(taken[1]))


def _touch(timers: Sequence[Timer], rng: random.Random) -> None:
    """Call both once: a first call maps the code and takes memory."""
    for side in rng.sample((0, 1), 2):
        timers[side](1)
