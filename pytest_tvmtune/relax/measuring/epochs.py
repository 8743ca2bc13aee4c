"""Epochs: the artifacts of a comparison placed anew, and timed in interleaved pairs."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from pytest_tvmtune.core.clock import monotonic_s
from pytest_tvmtune.core.gating.confidence_sequence import Epoch
from pytest_tvmtune.core.job_stage import LOADING_BASELINE, LOADING_OTHER, JobStage
from pytest_tvmtune.processes.job import WorkerContext
from pytest_tvmtune.processes.shared_arrays import releasing_pages
from pytest_tvmtune.relax.measuring.job_machine import open_machine
from pytest_tvmtune.relax.measuring.placement import (
    NOW,
    LoadedCopies,
    MeasuredLibrary,
    Measurement,
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
    """The sides of a comparison, ready to be timed; `enter` puts the parameters in their place."""

    @property
    def enter(self) -> Callable[[], None]: ...  # noqa: D102

    @property
    def timers(self) -> tuple[Timer, ...]: ...  # noqa: D102


@dataclass(frozen=True, kw_only=True, eq=False)
class ComparedArtifacts:
    """A baseline, what is compared with it, and the call that both are measured by.

    others: what `now` is compared with, too. cold_cache: the caches are emptied before each call.
    seed: of all that is random.
    """

    baseline: Artifact
    now: Artifact
    others: tuple[Artifact, ...] = ()
    call: EntryCall
    cold_cache: bool
    seed: int


def open_measurement(compared: ComparedArtifacts, context: WorkerContext[None]) -> Measurement:
    """Load all sides and transform their parameters.

    The baseline and the others are called once, here: what crashes in them isn't the run's.

    Args:
        compared: The sides.
        context: Of this process.

    Returns:
        The sides, loaded: the baseline, `now`, and the others that are no library of a rival's.

    Raises:
        CompileError: A library doesn't take what its model promised.

    """
    machine, now = open_machine(compared.call, context), compared.now
    sessions: dict[Path, Session] = {}  # a large model may not fit twice

    def open_(artifact: Artifact, loading: JobStage) -> Session:
        context.enter_stage(loading)
        opened = open_requested(
            compared.call, machine, artifact.library, artifact.manifest, scratch=context.folder
        )
        return sessions.setdefault(artifact.library, opened)

    for rival, loading in (
        (compared.baseline, LOADING_BASELINE),
        *((other, LOADING_OTHER) for other in compared.others),
    ):
        if rival.library not in {now.library, *sessions}:
            call(open_(rival, loading))
    inputs = open_(now, JobStage("loading this run's artifact")).inputs
    libraries = [compared.baseline.library, now.library]
    rivals = {compared.baseline.library: 0}
    for other in compared.others:
        if other.library not in rivals:
            rivals[other.library] = len(libraries)
            libraries.append(other.library)
    sides = tuple(
        MeasuredLibrary(library=one, params=sessions[one].params, arrays=sessions[one].arrays)
        for one in libraries
    )
    with releasing_pages([array for side in sides for array in side.arrays]):
        groups = match_params([side.params for side in sides])
    return Measurement(
        entry=compared.call.entry,
        machine=machine,
        sides=sides,
        rivals=tuple(rivals[one.library] for one in (compared.baseline, *compared.others)),
        inputs=inputs,
        groups=groups,
        cold_cache=compared.cold_cache,
    )


def warm_up(
    measurement: Measurement, copies: LoadedCopies, rng: random.Random
) -> tuple[int, float]:
    """Call all sides until their times are stable.

    Returns how many calls make a sample, and the seconds that a sample of each takes.
    """
    return settle(place(measurement, copies, rng)[0], single_calls=measurement.cold_cache)


def settle(arrangement: Arrangement, *, single_calls: bool) -> tuple[int, float]:
    """Call all sides until their times are stable; return as `warm_up`.

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
    arrangements: Sequence[Arrangement],
    rng: random.Random,
    *,
    number: int,
    pairs: int,
    rivals: Sequence[int] = (0,),
) -> tuple[Epoch, ...]:
    """Return an epoch of interleaved pairs, for each side that `NOW` is compared with.

    A round has one sample of each side, in random order.

    number: calls a sample. pairs: at least so many; where parameters trade places, as many for each
    arrangement. rivals: the sides that `NOW` is compared with.
    """
    count = len(arrangements[0].timers)
    taken: list[list[float]] = [[] for _ in range(count)]
    for arrangement in arrangements:
        arrangement.enter()
        _touch(arrangement.timers, rng)
        for _ in range(math.ceil(pairs / len(arrangements))):
            for side in rng.sample(range(count), count):
                taken[side].append(arrangement.timers[side](number))
    now_s = tuple(taken[NOW])
    return tuple(Epoch(baseline_s=tuple(taken[rival]), now_s=now_s) for rival in rivals)


def _touch(timers: Sequence[Timer], rng: random.Random) -> None:
    """Call each once: a first call maps the code and takes memory."""
    for timer in rng.sample(timers, len(timers)):
        timer(1)
