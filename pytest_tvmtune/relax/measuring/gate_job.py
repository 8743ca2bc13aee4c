"""Job of the latency gate: artifacts side by side, in epochs, in a short-lived child."""

from __future__ import annotations

import gc
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

from pytest_tvmtune.core.clock import monotonic_s
from pytest_tvmtune.core.gating.confidence_sequence import (
    Epoch,
    decide,
    evidence_of,
    least_epochs,
)
from pytest_tvmtune.core.job_stage import JobStage
from pytest_tvmtune.core.settings.quantities import Threshold
from pytest_tvmtune.processes.job import Job, WorkerContext
from pytest_tvmtune.relax.devices.lost_device import telling_lost_devices
from pytest_tvmtune.relax.measuring.epochs import (
    ComparedArtifacts,
    interleave,
    open_measurement,
    pairs_per_epoch,
    warm_up,
)
from pytest_tvmtune.relax.measuring.placement import (
    NOW,
    LoadedCopies,
    Measurement,
    open_copies,
    place,
)

# Of the time the gate may take, to tell what the machine can resolve.
_NOISE_SHARE = 0.5


@dataclass(frozen=True, kw_only=True, eq=False)
class Limit:
    """When a ratio is decided.

    alpha: of this one decision. only_slower: whether it's decided once nothing is slower, however
    much faster it may be.
    """

    threshold: Threshold
    alpha: float
    only_slower: bool = False


@dataclass(frozen=True, kw_only=True, eq=False)
class Request:
    """What is measured, and when it is decided.

    other_limits: of the ratio to each of the others. tell_noise: where the ratio to the baseline
    wasn't decided, the baseline is measured against itself as well. is_brief: the time is kept,
    even if it's too short for a decision.
    """

    compared: ComparedArtifacts
    max_time_s: float
    limit: Limit
    other_limits: tuple[Limit, ...] = ()
    tell_noise: bool
    is_brief: bool = False


@dataclass(frozen=True, kw_only=True)
class Result:
    """What was measured. noise: the baseline against itself, where nothing was decided.

    epochs: next to the baseline. other_epochs: next to each of the others, taken together with
    `epochs`; each list ends with its own decision.
    placements: how often the code was placed anew.
    """

    epochs: list[Epoch]
    other_epochs: list[list[Epoch]] = field(default_factory=list)
    noise: list[Epoch]
    placements: int
    spent_s: float
    num_threads: int


@telling_lost_devices
def run(request: Request, context: WorkerContext[None]) -> Result:
    """Time all sides in interleaved rounds until the ratio to each other side is decided.

    Args:
        request: What is measured.
        context: Of this process.

    Returns:
        What was measured.

    Raises:
        CompileError: A library doesn't take what its model promised.

    """
    compared = request.compared
    measurement = open_measurement(compared, context)
    context.enter_stage(JobStage("measuring against the baseline"))
    copies = open_copies(measurement, context.folder)
    rng = random.Random(compared.seed)  # noqa: S311  an order, not a secret
    gc.disable()

    limits = (request.limit, *request.other_limits)
    least = 1 if request.is_brief else max(least_epochs(limit.alpha) for limit in limits)
    clock = Clock(max_time_s=request.max_time_s, least_epochs=least)
    taken = take_until_decided(_epochs(measurement, copies, rng), clock, limits)
    spent_s, (epochs, *other_epochs) = clock.spent_s, taken
    own = measurement.sides[NOW].library
    copies_an_epoch = sum(side.library == own for side in measurement.sides)
    placements = copies.count(own) // copies_an_epoch
    noise: list[Epoch] = []
    if request.tell_noise and not _is_decided(epochs, request.limit, final=True):
        context.enter_stage(JobStage("measuring the baseline against itself"))
        noise_clock = Clock(max_time_s=_NOISE_SHARE * spent_s, least_epochs=clock.least_epochs // 2)
        for (epoch,) in _epochs(_against_itself(measurement), copies, rng):
            noise.append(epoch)
            if noise_clock.is_over(len(noise)):
                break
    return Result(
        epochs=epochs,
        other_epochs=other_epochs,
        noise=noise,
        placements=placements,
        spent_s=spent_s,
        num_threads=measurement.machine.num_threads_used(),
    )


@dataclass(kw_only=True)
class Clock:
    """When to stop: at `max_time_s`, but not before `least_epochs`."""

    max_time_s: float
    least_epochs: int
    started: float = field(default_factory=monotonic_s)

    def is_over(self, epochs: int) -> bool:
        """Whether no further epoch begins."""
        return epochs >= self.least_epochs and self.spent_s >= self.max_time_s

    @property
    def spent_s(self) -> float:
        """Seconds since it was started."""
        return monotonic_s() - self.started


def _against_itself(measurement: Measurement) -> Measurement:
    """Return the comparison of a baseline with its own copy."""
    baseline = measurement.sides[0]
    groups = tuple(((index, index),) for index in range(len(baseline.params)))
    return replace(measurement, sides=(baseline, baseline), rivals=(0,), groups=groups)


def take_until_decided(
    taken: Iterator[Sequence[Epoch]], clock: Clock, limits: Sequence[Limit]
) -> list[list[Epoch]]:
    """Return epochs, at least one, until each ratio is decided or the time is over.

    A ratio has no more epochs after its decision: they could undo it.

    Args:
        taken: In each epoch, one for each ratio.
        clock: When the time is over.
        limits: Of each ratio.
    """
    epochs: list[list[Epoch]] = [[] for _ in limits]
    undecided = list(range(len(limits)))
    number = 0
    while undecided and not (number and clock.is_over(number)):
        new, number = next(taken), number + 1
        for index in undecided:
            epochs[index].append(new[index])
        undecided = [index for index in undecided if not _is_decided(epochs[index], limits[index])]
    return epochs


def _is_decided(epochs: Sequence[Epoch], limit: Limit, *, final: bool = False) -> bool:
    evidence = evidence_of(epochs, limit.alpha)
    return decide(evidence, limit.threshold, final=final or limit.only_slower) != "INCONCLUSIVE"


def _epochs(
    measurement: Measurement, copies: LoadedCopies, rng: random.Random
) -> Iterator[tuple[Epoch, ...]]:
    """Yield epochs without end, one for each side that `NOW` is compared with."""
    number, round_s = warm_up(measurement, copies, rng)
    pairs = pairs_per_epoch(round_s * 2 / len(measurement.sides))
    while True:
        # Nothing of the epoch before stays in memory meanwhile.
        arrangements = place(measurement, copies, rng)
        with measurement.machine.fixed_affinity():
            epochs = interleave(
                arrangements, rng, number=number, pairs=pairs, rivals=measurement.rivals
            )
        del arrangements
        yield epochs


JOB = Job(run=run)
