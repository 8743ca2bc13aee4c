"""The latency gate's decision, from epochs of paired samples to a verdict.

Distribution-free at a fixed number of epochs: the interval for the median of the epochs' log
ratios comes from order statistics and the binomial distribution. It makes no assumption on the
noise's shape; it is not valid at every look, so the number of epochs is fixed before measuring.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import Literal

from pytest_tvmtune.core.quantities import Threshold

Decision = Literal["PASS", "IMPROVEMENT", "REGRESSION", "INCONCLUSIVE"]
CONFIDENCE = 0.99


@dataclass(frozen=True, kw_only=True)
class Epoch:
    """Paired seconds per call, taken with one placement of code and tensors in memory."""

    baseline_s: tuple[float, ...]
    now_s: tuple[float, ...]

    def __post_init__(self) -> None:
        if len(self.baseline_s) != len(self.now_s) or not self.now_s:
            raise ValueError("an epoch holds at least one pair")

    @property
    def log_ratio(self) -> float:
        """Median over the pairs of ln(now / baseline); pairs share their placement's bias."""
        pairs = zip(self.now_s, self.baseline_s, strict=True)
        return median(math.log(now / baseline) for now, baseline in pairs)


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """What the epochs say. Ratios are now/baseline; `low` and `high` bound the median."""

    ratio: float
    low: float
    high: float
    confidence: float
    baseline_median_s: float
    now_median_s: float
    epochs: int
    pairs: int


def median_interval(values: Sequence[float], confidence: float) -> tuple[float, float, float]:
    """Return (low, high, coverage) of a distribution-free interval for the median.

    The narrowest symmetric pair of order statistics whose coverage is at least `confidence`;
    with too few values, the extremes and what they cover.
    Source: David and Nagaraja, Order Statistics, 3rd ed., section 7.1.
    """
    ordered = sorted(values)
    n = len(ordered)
    best = 0
    tail = 0.0
    for k in range(n // 2):
        tail_k = tail + math.comb(n, k) / 2**n
        if 1 - 2 * tail_k < confidence:
            break
        tail, best = tail_k, k
    coverage = 1 - 2 * sum(math.comb(n, i) for i in range(best + 1)) / 2**n
    return ordered[best], ordered[n - 1 - best], max(0.0, coverage)


def weigh(epochs: Sequence[Epoch], confidence: float = CONFIDENCE) -> Evidence:
    """Return the evidence in at least one epoch."""
    ratios = [epoch.log_ratio for epoch in epochs]
    low, high, coverage = median_interval(ratios, confidence)
    return Evidence(
        ratio=math.exp(median(ratios)),
        low=math.exp(low),
        high=math.exp(high),
        confidence=coverage,
        baseline_median_s=median(s for epoch in epochs for s in epoch.baseline_s),
        now_median_s=median(s for epoch in epochs for s in epoch.now_s),
        epochs=len(epochs),
        pairs=sum(len(epoch.now_s) for epoch in epochs),
    )


def decide(evidence: Evidence, threshold: Threshold) -> Decision:
    """Return what the interval says against the threshold +t and its mirror -t on a log scale."""
    limit = 1 + threshold.slowdown_ratio(evidence.baseline_median_s)
    if evidence.confidence < CONFIDENCE:
        return "INCONCLUSIVE"
    if evidence.low > limit:
        return "REGRESSION"
    if evidence.high < 1 / limit:
        return "IMPROVEMENT"
    return "PASS" if evidence.high < limit else "INCONCLUSIVE"
