"""Simulated: how often the gate errs when it is looked at after every epoch."""

from __future__ import annotations

import math
import random
from bisect import insort
from collections.abc import Callable, Iterator

import pytest

from pytest_tvmtune.core.gating.confidence_sequence import (
    Epoch,
    confidence_bounds,
    decide,
    evidence_of,
    fewest_epochs,
)
from pytest_tvmtune.core.gating.verdict import Verdict
from pytest_tvmtune.core.settings.quantities import parse_threshold
from tests.core.made_up import evidence
from tests.support.unmeasured import unmeasured_here  # noqa: F401

pytestmark = pytest.mark.usefixtures("unmeasured_here")
ALPHA = 0.05
THRESHOLD = parse_threshold("3%", "t")
LIMIT = math.log(1.03)
Noise = Callable[[random.Random], Iterator[float]]


def at_most(share: float, runs: int) -> float:
    """Return a share that runs which err with `share` exceed once in 30,000 times: 4 sigma."""
    return share + 4 * math.sqrt(share * (1 - share) / runs)


def cauchy(rng: random.Random) -> Iterator[float]:
    """No mean; within exp's range."""
    while True:
        yield max(-500.0, min(0.02 * math.tan(math.pi * (rng.random() - 0.5)), 500.0))


def student(rng: random.Random) -> Iterator[float]:
    """Student's t of two degrees of freedom: a mean, no variance."""
    while True:
        yield 0.02 * rng.gauss(0, 1) / math.sqrt(rng.expovariate(1))


def skewed(rng: random.Random) -> Iterator[float]:
    """Median 0, mean far above: the new side is interrupted, the old one hardly."""
    while True:
        yield 0.02 * (math.exp(2 * rng.gauss(0, 1)) - 1)


def skewed_down(rng: random.Random) -> Iterator[float]:
    for one in skewed(rng):
        yield max(-one, -500.0)


def placements(rng: random.Random) -> Iterator[float]:
    """An offset that an epoch has from where its code landed, a few values, and little else."""
    while True:
        yield rng.choice((-0.2, -0.01, 0.01, 0.2)) + rng.gauss(0, 0.001)


def restless(rng: random.Random) -> Iterator[float]:
    """Quiet and loud times that last: the size of one epoch's noise tells that of the next."""
    size = 0.0
    while True:
        size = 0.95 * size + rng.gauss(0, 0.5)
        yield 0.01 * math.exp(size) * rng.gauss(0, 1)


def changing(rng: random.Random) -> Iterator[float]:
    """A noise whose shape depends on what came before, its median never."""
    last = 0.0
    while True:
        positive = rng.random() < 0.5
        last = (0.1 if last > 0 else 0.001) * rng.expovariate(1) * (1 if positive else -0.01)
        yield last


def ever(log_ratios: Iterator[float], looks: int) -> set[Verdict]:
    """Return all that would have been said, had it been stopped at any of the looks."""
    ordered: list[float] = []
    said: set[Verdict] = set()
    for n, log_ratio in zip(range(1, looks + 1), log_ratios, strict=False):
        insort(ordered, log_ratio)
        if n >= fewest_epochs(ALPHA):
            low, high = confidence_bounds(ordered, ALPHA)
            found = evidence(math.exp(low), math.exp(high))
            said |= {decide(found, THRESHOLD, final=final) for final in (False, True)}
    return said


NOISES = (cauchy, student, skewed, skewed_down, placements, restless, changing)


@pytest.mark.parametrize("noise", NOISES)
def test_at_the_threshold_it_rarely_errs_either_way_at_any_of_200_looks(noise: Noise) -> None:
    """The worst case that must not fail, and the mildest that must not pass."""
    runs = 400
    rng = random.Random(f"errors {noise.__name__}")
    said = [ever((LIMIT + one for one in noise(rng)), 200) for _ in range(runs)]
    assert sum("REGRESSION" in one for one in said) / runs <= at_most(ALPHA, runs)
    assert sum(bool({"PASS", "IMPROVEMENT"} & one) for one in said) / runs <= at_most(ALPHA, runs)
    # It isn't silent: with that many looks it errs now and then, as it may.
    assert any(one != {"INCONCLUSIVE"} for one in said)


@pytest.mark.parametrize("noise", NOISES)
def test_the_same_code_rarely_regresses_at_any_of_200_looks(noise: Noise) -> None:
    runs = 100
    rng = random.Random(f"same {noise.__name__}")
    said = [ever(noise(rng), 200) for _ in range(runs)]
    assert sum("REGRESSION" in one for one in said) / runs <= at_most(ALPHA, runs)
    assert sum("IMPROVEMENT" in one for one in said) / runs <= at_most(ALPHA, runs)


@pytest.mark.parametrize("noise", NOISES)
def test_twice_the_threshold_is_found(noise: Noise) -> None:
    runs = 100
    rng = random.Random(f"power {noise.__name__}")
    said = [ever((2 * LIMIT + one for one in noise(rng)), 200) for _ in range(runs)]
    assert sum("REGRESSION" in one for one in said) >= 0.97 * runs
    assert sum(bool({"PASS", "IMPROVEMENT"} & one) for one in said) / runs <= at_most(ALPHA, runs)


# -- Simulated: from seconds on a machine -----------------------------------------------------

Machine = Callable[[random.Random], Iterator[float]]
EPOCHS = 40


def drifting(rng: random.Random) -> Iterator[float]:
    """Seconds of one call, sample after sample: a random walk, between walls."""
    seconds = 1.0
    while True:
        seconds = min(max(seconds + rng.gauss(0, 0.01), 0.5), 3.0)
        yield seconds


def autocorrelated(rng: random.Random) -> Iterator[float]:
    """Slow and fast times, each some epochs long, and one sample in ten interrupted."""
    log = 0.0
    while True:
        log = 0.97 * log + rng.gauss(0, 0.01)
        yield math.exp(log) * (1 + rng.expovariate(1) if rng.random() < 0.1 else 1)


def epochs_on(machine: Machine, rng: random.Random, ratio: float) -> Iterator[Epoch]:
    """Yield epochs as the gate takes them: interleaved pairs, each in random order.

    Both sides are placed anew; what that costs is common to the epoch's pairs, and more than what
    sets those apart.
    """
    seconds = machine(rng)
    while True:
        factors = (math.exp(rng.gauss(0, 0.05)), ratio * math.exp(rng.gauss(0, 0.05)))
        taken: tuple[list[float], list[float]] = ([], [])
        for _ in range(5):
            for side in rng.sample((0, 1), 2):
                taken[side].append(next(seconds) * factors[side])
        yield Epoch(baseline_s=tuple(taken[0]), now_s=tuple(taken[1]))


def first_verdicts(
    machine: Machine, ratio: float, threshold: str, *, runs: int, final: bool
) -> list[Verdict]:
    """Return what each run says first, looked at after every one of its epochs.

    final: as if each look were the last.
    """
    rng = random.Random(f"{machine.__name__} {ratio}")
    limit = parse_threshold(threshold, "t")
    said: list[Verdict] = []
    for _ in range(runs):
        epochs: list[Epoch] = []
        for one in epochs_on(machine, rng, ratio):
            epochs.append(one)
            decision = decide(evidence_of(epochs, ALPHA), limit, final=final)
            if decision != "INCONCLUSIVE" or len(epochs) == EPOCHS:
                said.append(decision)
                break
    return said


MACHINES = (drifting, autocorrelated)


@pytest.mark.parametrize("machine", MACHINES)
@pytest.mark.parametrize(("ratio", "threshold"), [(1.1, "10%"), (1.0, "0.0001%")])
def test_from_seconds_it_rarely_errs_at_the_threshold(
    machine: Machine, ratio: float, threshold: str
) -> None:
    """Also for the same code, to be told from a threshold next to nothing.

    Either verdict lacks a ground: each has a chance of at most alpha, up to a difference of a
    millionth.
    """
    runs = 200
    said = first_verdicts(machine, ratio, threshold, runs=runs, final=True)
    assert said.count("REGRESSION") / runs <= at_most(ALPHA, runs)
    not_slower = said.count("PASS") + said.count("IMPROVEMENT")
    assert not_slower / runs <= at_most(ALPHA, runs)


@pytest.mark.parametrize("machine", MACHINES)
def test_pairs_taken_for_epochs_would_err(machine: Machine) -> None:
    """What epochs are for: on these machines the test above fails without them."""
    rng = random.Random(f"pairs {machine.__name__}")
    runs, wrong = 100, 0
    for _ in range(runs):
        stream = epochs_on(machine, rng, 1.0)
        pairs: list[float] = []
        lows = []
        for _ in range(EPOCHS):
            for one in next(stream).pair_log_ratios:
                insort(pairs, one)
            lows.append(confidence_bounds(pairs, ALPHA)[0])
        wrong += max(lows) > 0
    assert wrong / runs > at_most(ALPHA, runs)


@pytest.mark.parametrize("machine", MACHINES)
@pytest.mark.parametrize(
    ("ratio", "verdict"), [(1.2, "REGRESSION"), (1.0, "PASS"), (1 / 1.2, "IMPROVEMENT")]
)
def test_from_seconds_what_is_clear_is_found(
    machine: Machine, ratio: float, verdict: Verdict
) -> None:
    runs = 60
    said = first_verdicts(machine, ratio, "10%", runs=runs, final=False)
    assert said.count(verdict) >= 0.95 * runs
