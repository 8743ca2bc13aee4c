"""The gate's statistics: the interval for the median, and verdicts from it."""

from __future__ import annotations

import math
import random
from fractions import Fraction
from itertools import accumulate

import pytest
from pytest_tvmtune.core.gate import (
    CONFIDENCE,
    Epoch,
    Evidence,
    decide,
    median_interval,
    weigh,
)

from pytest_tvmtune.core.quantities import parse_threshold


def exact_coverages(n: int) -> list[Fraction]:
    """P(x_(k+1) <= median <= x_(n-k)) for each k: k+1 to n-k-1 of n values lie below the median."""
    rows = [math.comb(n, i) for i in range(n + 1)]
    below = [0, *accumulate(rows)]
    return [Fraction(below[n - k] - below[k + 1], 2**n) for k in range((n + 1) // 2)]


@pytest.mark.parametrize("confidence", [0.9, 0.95, 0.99])
@pytest.mark.parametrize("n", [1, 2, 3, 5, 7, 8, 9, 10, 19, 20, 21, 40, 101, 1200])
def test_the_narrowest_order_statistics_that_cover_enough(n: int, confidence: float) -> None:
    coverages = exact_coverages(n)
    enough = [k for k, covered in enumerate(coverages) if covered >= Fraction(confidence)]
    k = max(enough, default=0)
    values = [float(i) for i in range(n)]
    low, high, coverage = median_interval(random.Random(n).sample(values, n), confidence)
    assert (low, high) == (values[k], values[n - 1 - k])
    assert coverage == pytest.approx(float(coverages[k]), abs=1e-12)


@pytest.mark.parametrize(
    ("n", "confidence", "ranks", "coverage"),
    [
        # Textbook values (1-based ranks).
        (10, 0.95, (2, 9), 0.9785),
        (20, 0.95, (6, 15), 0.9586),
        (8, 0.99, (1, 8), 0.9922),
        (20, 0.99, (4, 17), 0.9974),
        # Too few: the extremes, and what they cover.
        (7, 0.99, (1, 7), 0.9844),
        (1, 0.99, (1, 1), 0.0),
    ],
)
def test_known_intervals(
    n: int, confidence: float, ranks: tuple[int, int], coverage: float
) -> None:
    low, high, covered = median_interval([float(i) for i in range(1, n + 1)], confidence)
    assert (low, high) == ranks
    assert covered == pytest.approx(coverage, abs=5e-5)


def heavy_tailed(rng: random.Random) -> float:
    """A skewed draw with median 0: Cauchy, its right side stretched, within exp's range."""
    draw = math.tan(math.pi * (rng.random() - 0.5))
    return max(-1e4, min(draw * 10 if draw > 0 else draw, 1e4))


@pytest.mark.parametrize("n", [10, 20, 33])
def test_the_interval_covers_the_median_as_often_as_it_says(n: int) -> None:
    rng = random.Random(20240 + n)
    runs = 4000
    hits = 0
    for _ in range(runs):
        low, high, claimed = median_interval([heavy_tailed(rng) for _ in range(n)], 0.95)
        hits += low <= 0 <= high
    # Five standard deviations of the count, both ways.
    slack = 5 * math.sqrt(claimed * (1 - claimed) / runs)
    assert hits / runs == pytest.approx(claimed, abs=slack)


def epoch(log_ratio: float, pairs: int = 3) -> Epoch:
    return Epoch(baseline_s=(1.0,) * pairs, now_s=(math.exp(log_ratio),) * pairs)


def test_no_more_false_regressions_than_promised_under_heavy_tails() -> None:
    rng = random.Random(7)
    threshold = parse_threshold("3%", "t")
    runs = 2000
    wrong = 0
    for _ in range(runs):
        # The truth lies exactly on the threshold: the worst case that must still not fail.
        truth = math.log(1.03)
        epochs = [epoch(truth + 0.01 * heavy_tailed(rng), pairs=1) for _ in range(20)]
        wrong += decide(weigh(epochs), threshold) == "REGRESSION"
    promised = (1 - CONFIDENCE) / 2
    assert wrong / runs <= promised + 4 * math.sqrt(promised / runs)


def test_a_real_slowdown_is_found_under_heavy_tails() -> None:
    rng = random.Random(11)
    threshold = parse_threshold("3%", "t")
    verdicts = [
        decide(
            weigh([epoch(math.log(1.2) + 0.005 * heavy_tailed(rng)) for _ in range(20)]), threshold
        )
        for _ in range(200)
    ]
    assert verdicts.count("REGRESSION") >= 180


def test_an_epoch_is_the_median_of_its_pairs() -> None:
    # Ratios 2, 1/2 and 8: the clock changed between the pairs, not within.
    one = Epoch(baseline_s=(1.0, 4.0, 0.5), now_s=(2.0, 2.0, 4.0))
    assert one.log_ratio == pytest.approx(math.log(2))


@pytest.mark.parametrize(("before", "now"), [((), ()), ((1.0,), ()), ((1.0,), (1.0, 2.0))])
def test_an_epoch_holds_pairs(before: tuple[float, ...], now: tuple[float, ...]) -> None:
    with pytest.raises(ValueError, match="at least one pair"):
        Epoch(baseline_s=before, now_s=now)


def test_weigh() -> None:
    ratios = [1.0, 1.1, 1.2, 1.3, 1.4, 1.5, 1.6, 1.7, 1.8]
    epochs = [Epoch(baseline_s=(2.0, 2.0), now_s=(2.0 * r, 2.0 * r)) for r in ratios]
    evidence = weigh(epochs)
    assert evidence.ratio == pytest.approx(1.4)
    assert (evidence.low, evidence.high) == pytest.approx((1.0, 1.8))
    assert evidence.confidence == pytest.approx(1 - 2 / 2**9)
    assert evidence.baseline_median_s == 2.0
    assert evidence.now_median_s == pytest.approx(2.8)
    assert (evidence.epochs, evidence.pairs) == (9, 18)


def evidence(
    low: float, high: float, *, confidence: float = CONFIDENCE, baseline_s: float = 1.0
) -> Evidence:
    return Evidence(
        ratio=math.sqrt(low * high),
        low=low,
        high=high,
        confidence=confidence,
        baseline_median_s=baseline_s,
        now_median_s=baseline_s * math.sqrt(low * high),
        epochs=20,
        pairs=60,
    )


@pytest.mark.parametrize(
    ("low", "high", "verdict"),
    [
        (1.051, 1.2, "REGRESSION"),
        (1.049, 1.2, "INCONCLUSIVE"),
        (0.5, 3.0, "INCONCLUSIVE"),
        (0.99, 1.051, "INCONCLUSIVE"),
        (0.99, 1.049, "PASS"),
        (1.01, 1.02, "PASS"),
        # Reaching into, but not wholly below, 1/1.05 = 0.952.
        (0.90, 0.953, "PASS"),
        (0.90, 0.951, "IMPROVEMENT"),
        (0.5, 0.6, "IMPROVEMENT"),
    ],
)
def test_verdicts_against_5_percent(low: float, high: float, verdict: str) -> None:
    assert decide(evidence(low, high), parse_threshold("5%", "t")) == verdict


def test_the_threshold_itself_is_neither_regression_nor_pass() -> None:
    threshold = parse_threshold("50%", "t")
    assert decide(evidence(1.5, 2.0), threshold) == "INCONCLUSIVE"
    assert decide(evidence(1.0, 1.5), threshold) == "INCONCLUSIVE"


@pytest.mark.parametrize(("low", "high"), [(2.0, 3.0), (0.3, 0.4), (1.0, 1.0)])
def test_too_few_epochs_conclude_nothing(low: float, high: float) -> None:
    few = evidence(low, high, confidence=0.984)
    assert decide(few, parse_threshold("5%", "t")) == "INCONCLUSIVE"
    assert decide(weigh([epoch(math.log(2))] * 7), parse_threshold("5%", "t")) == "INCONCLUSIVE"
    assert decide(weigh([epoch(math.log(2))] * 8), parse_threshold("5%", "t")) == "REGRESSION"


@pytest.mark.parametrize(
    ("baseline_s", "verdict"),
    # 0.2 ms is 20 % of 1 ms, 10 % of 2 ms, 2 % of 10 ms.
    [(1e-3, "PASS"), (2e-3, "INCONCLUSIVE"), (10e-3, "REGRESSION")],
)
def test_a_threshold_in_seconds_depends_on_the_baseline(baseline_s: float, verdict: str) -> None:
    threshold = parse_threshold("0.2ms", "t")
    assert decide(evidence(1.08, 1.12, baseline_s=baseline_s), threshold) == verdict
