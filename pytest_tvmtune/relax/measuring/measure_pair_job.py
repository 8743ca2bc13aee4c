"""Job of the latency gate: both artifacts side by side, in epochs, in a short-lived child."""

from __future__ import annotations

import contextlib
import gc
import math
import os
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from pytest_tvmtune.core.clock import monotonic_s
from pytest_tvmtune.core.gating.confidence_sequence import (
    Decision,
    Epoch,
    decide,
    evidence_of,
    least_epochs,
)
from pytest_tvmtune.processes.shared_arrays import releasing_pages
from pytest_tvmtune.processes.worker import enter_stage
from pytest_tvmtune.relax.measuring.placement import (
    LoadedCopies,
    MeasuredLibrary,
    PairedMeasurement,
    ParamPlacement,
    match_params,
    open_copies,
    place,
)
from pytest_tvmtune.relax.measuring.session import call, open_requested
from pytest_tvmtune.relax.measuring.timing import Timer, calls_per_sample, num_threads_used

LOADING_BASELINE = "loading the baseline's artifact"
# Shorter than what the scheduler gives at a time, so that few samples are interrupted, and enough
# pairs an epoch to outvote those; measured in docs/gate.md.
MIN_SAMPLE_S = 0.0005
_PAIRS_S = 0.015
MOST_PAIRS = 7
_MOST_WARM_UP_S = 1.0
_STABLE = 0.05
# Of the time the gate may take, to tell what the machine can resolve.
_NOISE_SHARE = 0.5
_MOST_FLUSH_BYTES = 256 << 20


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


def measure_pair(request: dict[str, Any]) -> dict[str, Any]:
    """Job: time `baseline` and `now` in interleaved pairs until their ratio is decided.

    request: for each side a library path and its manifest's JSON; entry, target, params, inputs,
    max_time_s, alpha, threshold, cold_cache, tell_noise, seed.
    Returns {"epochs": [(baseline seconds, now seconds), ...], "noise": the same of the baseline
    against itself, where nothing was decided, "placements": how often code was placed,
    "num_threads", "spent_s"}.
    """
    alpha, threshold = request["alpha"], request["threshold"]
    folder = request["folder"]
    measurement = open_measurement(request)
    enter_stage(folder, "measuring against the baseline")
    copies = open_copies(measurement, folder)
    rng = random.Random(request["seed"])  # noqa: S311  an order, not a secret
    gc.disable()

    def decision(epochs: list[Epoch], *, final: bool) -> Decision:
        return decide(evidence_of(epochs, alpha), threshold, final=final)

    clock = Clock(max_time_s=request["max_time_s"], least_epochs=least_epochs(alpha))
    epochs = _epochs(
        measurement,
        copies,
        rng,
        stop=lambda epochs: (
            clock.is_over(len(epochs)) or decision(epochs, final=False) != "INCONCLUSIVE"
        ),
    )
    spent_s = clock.spent_s
    placements = min(len(epochs), copies.count(measurement.now.library))
    noise: list[Epoch] = []
    if request["tell_noise"] and decision(epochs, final=True) == "INCONCLUSIVE":
        enter_stage(folder, "measuring the baseline against itself")
        noise_clock = Clock(max_time_s=_NOISE_SHARE * spent_s, least_epochs=clock.least_epochs // 2)
        noise = _epochs(
            against_itself(measurement),
            copies,
            rng,
            stop=lambda epochs: noise_clock.is_over(len(epochs)),
        )
    return {
        "epochs": [(epoch.baseline_s, epoch.now_s) for epoch in epochs],
        "noise": [(epoch.baseline_s, epoch.now_s) for epoch in noise],
        "placements": placements,
        "num_threads": num_threads_used(),
        "spent_s": spent_s,
    }


def open_measurement(request: dict[str, Any]) -> PairedMeasurement:
    """Load both sides and transform their parameters. Raises CompileError.

    The baseline is called once, here: what crashes in it is the baseline's, not the run's.
    """
    enter_stage(request["folder"], LOADING_BASELINE)
    accepted = open_requested(request, request["baseline"], request["folder"])
    call(accepted)
    enter_stage(request["folder"], "loading this run's artifact")
    opened = open_requested(request, request["now"], request["folder"])
    baseline, now = (
        MeasuredLibrary(
            library=Path(request[which]["library"]), params=session.params, arrays=session.arrays
        )
        for which, session in (("baseline", accepted), ("now", opened))
    )
    with releasing_pages((*baseline.arrays, *now.arrays)):
        shared, traded = match_params(baseline.params, now.params)
    return PairedMeasurement(
        entry=request["entry"],
        device=accepted.device,
        baseline=baseline,
        now=now,
        inputs=accepted.inputs,
        shared=shared,
        traded=traded,
        flush=_flusher() if request["cold_cache"] else None,
    )


def against_itself(measurement: PairedMeasurement) -> PairedMeasurement:
    """Return the contest of a baseline with its own copy."""
    everything = tuple((index, index) for index in range(len(measurement.baseline.params)))
    return replace(measurement, now=measurement.baseline, shared=everything, traded=())


def _epochs(
    measurement: PairedMeasurement,
    copies: LoadedCopies,
    rng: random.Random,
    stop: Callable[[list[Epoch]], bool],
) -> list[Epoch]:
    """Return epochs, at least one, until `stop` says so."""
    number, pair_s = warm_up(measurement, copies, rng)
    pairs = pairs_per_epoch(pair_s)
    epochs: list[Epoch] = []
    while not epochs or not stop(epochs):
        # Nothing of the epoch before stays in memory meanwhile.
        epochs.append(take_epoch(place(measurement, copies, rng), rng, number=number, pairs=pairs))
    return epochs


def warm_up(
    measurement: PairedMeasurement, copies: LoadedCopies, rng: random.Random
) -> tuple[int, float]:
    """Call both sides until their times are stable.

    Returns how many calls make a sample, and the seconds that a pair of samples takes.
    """
    arrangement = place(measurement, copies, rng)[0]
    arrangement.enter()
    deadline = monotonic_s() + _MOST_WARM_UP_S
    rounds: list[tuple[float, ...]] = []
    number = 1
    while True:
        rounds.append(tuple(timer(number) for timer in arrangement.timers))
        # With cold caches a sample is one call.
        number = 1 if measurement.flush else calls_per_sample(min(rounds[-1]), MIN_SAMPLE_S)
        recent = list(zip(*rounds[-3:], strict=True))
        stable = all(max(times) <= (1 + _STABLE) * min(times) for times in recent)
        if (len(rounds) >= 4 and stable) or monotonic_s() > deadline:
            return number, _pair_s(arrangement.timers, number)


def pairs_per_epoch(pair_s: float) -> int:
    """Return how many pairs an epoch has, where one takes so long."""
    return max(1, min(MOST_PAIRS, int(_PAIRS_S / pair_s)))


def _pair_s(timers: Sequence[Timer], number: int) -> float:
    """Return the seconds of a pair, the shortest of some: one may have been interrupted."""
    taken: list[float] = []
    while len(taken) < 3 and sum(taken) < _PAIRS_S:
        started = monotonic_s()
        for timer in timers:
            timer(number)
        taken.append(monotonic_s() - started)
    return min(taken)


def take_epoch(
    arrangements: Sequence[ParamPlacement], rng: random.Random, *, number: int, pairs: int
) -> Epoch:
    """Return an epoch of interleaved pairs, each in random order.

    number: calls a sample. pairs: at least so many; where parameters trade places, as many each
    way.
    """
    taken: tuple[list[float], list[float]] = ([], [])
    with fixed_affinity():
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


@contextlib.contextmanager
def fixed_affinity() -> Iterator[None]:
    """Keep a single thread on the core where it is now; TVM binds the threads of a pool itself."""
    if num_threads_used() > 1 or not hasattr(os, "sched_setaffinity"):
        yield
        return
    allowed = os.sched_getaffinity(0)
    # The last field but 13: man 5 proc_pid_stat, field 39.
    core = int(Path("/proc/self/stat").read_text().rpartition(")")[2].split()[36])
    try:
        os.sched_setaffinity(0, {core})
        yield
    finally:
        os.sched_setaffinity(0, allowed)


def _flusher() -> Callable[[], None]:
    """Return what writes over twice the largest cache."""
    sizes = []
    for path in Path("/sys/devices/system/cpu/cpu0/cache").glob("index*/size"):
        text = path.read_text().strip()
        sizes.append(int(text.rstrip("KM")) << {"K": 10, "M": 20}.get(text[-1], 0))
    block = np.zeros(min(2 * max(sizes, default=32 << 20), _MOST_FLUSH_BYTES), np.uint8)

    def flush() -> None:
        np.add(block, 1, out=block)

    return flush
