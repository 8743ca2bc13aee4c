"""Job of the latency gate: both artifacts side by side, in epochs, in a short-lived child."""

from __future__ import annotations

import gc
import random
from collections.abc import Callable, Iterator
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
    ArtifactPair,
    interleave,
    open_measurement,
    pairs_per_epoch,
    warm_up,
)
from pytest_tvmtune.relax.measuring.placement import (
    LoadedCopies,
    PairedMeasurement,
    open_copies,
    place,
)

# Of the time the gate may take, to tell what the machine can resolve.
_NOISE_SHARE = 0.5


@dataclass(frozen=True, kw_only=True, eq=False)
class Request:
    """What is measured, and when it is decided.

    alpha: of this one decision. tell_noise: where nothing was decided, the baseline is measured
    against itself as well.
    """

    pair: ArtifactPair
    max_time_s: float
    alpha: float
    threshold: Threshold
    tell_noise: bool


@dataclass(frozen=True, kw_only=True)
class Result:
    """What was measured. noise: the baseline against itself, where nothing was decided.

    placements: how often the code was placed anew.
    """

    epochs: list[Epoch]
    noise: list[Epoch]
    placements: int
    spent_s: float
    num_threads: int


@telling_lost_devices
def run(request: Request, context: WorkerContext[None]) -> Result:
    """Time `baseline` and `now` in interleaved pairs until their ratio is decided.

    Args:
        request: What is measured.
        context: Of this process.

    Returns:
        What was measured.

    Raises:
        CompileError: A library doesn't take what its model promised.

    """
    measurement = open_measurement(request.pair, context)
    context.enter_stage(JobStage("measuring against the baseline"))
    copies = open_copies(measurement, context.folder)
    rng = random.Random(request.pair.seed)  # noqa: S311  an order, not a secret
    gc.disable()

    clock = Clock(max_time_s=request.max_time_s, least_epochs=least_epochs(request.alpha))
    epochs = take_until_decided(
        _epochs(measurement, copies, rng), clock, alpha=request.alpha, threshold=request.threshold
    )
    spent_s = clock.spent_s
    placements = min(len(epochs), copies.count(measurement.now.library))
    noise: list[Epoch] = []
    evidence = evidence_of(epochs, request.alpha)
    is_decided = decide(evidence, request.threshold, final=True) != "INCONCLUSIVE"
    if request.tell_noise and not is_decided:
        context.enter_stage(JobStage("measuring the baseline against itself"))
        noise_clock = Clock(max_time_s=_NOISE_SHARE * spent_s, least_epochs=clock.least_epochs // 2)
        noise = _take_until(
            _epochs(_against_itself(measurement), copies, rng),
            stop=lambda epochs: noise_clock.is_over(len(epochs)),
        )
    return Result(
        epochs=epochs,
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


def _against_itself(measurement: PairedMeasurement) -> PairedMeasurement:
    """Return the comparison of a baseline with its own copy."""
    everything = tuple((index, index) for index in range(len(measurement.baseline.params)))
    return replace(measurement, now=measurement.baseline, shared=everything, traded=())


def take_until_decided(
    taken: Iterator[Epoch], clock: Clock, *, alpha: float, threshold: Threshold
) -> list[Epoch]:
    """Return epochs, at least one, until their ratio is decided or the time is over.

    alpha: of this one decision.
    """

    def is_decided(epochs: list[Epoch]) -> bool:
        return decide(evidence_of(epochs, alpha), threshold, final=False) != "INCONCLUSIVE"

    return _take_until(taken, lambda epochs: clock.is_over(len(epochs)) or is_decided(epochs))


def _take_until(taken: Iterator[Epoch], stop: Callable[[list[Epoch]], bool]) -> list[Epoch]:
    epochs: list[Epoch] = []
    while not epochs or not stop(epochs):
        epochs.append(next(taken))
    return epochs


def _epochs(
    measurement: PairedMeasurement, copies: LoadedCopies, rng: random.Random
) -> Iterator[Epoch]:
    """Yield epochs without end."""
    number, pair_s = warm_up(measurement, copies, rng)
    pairs = pairs_per_epoch(pair_s)
    while True:
        # Nothing of the epoch before stays in memory meanwhile.
        arrangements = place(measurement, copies, rng)
        with measurement.machine.fixed_affinity():
            epoch = interleave(arrangements, rng, number=number, pairs=pairs)
        del arrangements
        yield epoch


JOB = Job(run=run)
