"""A confidence interval for a quantile of the latency, from calls in the order they were made.

The ends are order statistics, so the interval is distribution-free: the number of calls at or below
the true quantile is binomial if calls are independent (David and Nagaraja, Order Statistics, 2003,
section 7.1). Calls close in time are not: an interrupt or another program delays several. So the
binomial is that of fewer calls, by the factor that the variance of batch means shows (Heidelberger
and Lewis, Quantile estimation in dependent sequences, Oper. Res. 32, 1984).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import variance

_BATCHES = 20
# The variance of so few batch means is uncertain: Student's t with 19 degrees of freedom, divided
# by the normal quantile, is squared 1.2 to 1.5 for alpha from 0.005 to 0.0001.
_UNCERTAINTY = 1.5
_USUAL_CALLS = 5000
# Dependent calls count less.
_SPARE = 3


@dataclass(frozen=True, kw_only=True)
class QuantileInterval:
    """A quantile of the calls, and its confidence interval. high: infinite with too few calls.

    effective_calls: as many independent calls would show as much.
    """

    value: float
    low: float
    high: float
    effective_calls: int


def quantile_interval(values: Sequence[float], quantile: float, alpha: float) -> QuantileInterval:
    """Return the interval for a quantile.

    Args:
        values: At least one, in the order in which they were measured.
        quantile: Between 0 and 1.
        alpha: The probability that the interval is above the true quantile. The probability that
            it is below is the same.
    """
    ordered = sorted(values)
    value = ordered[min(len(ordered) - 1, math.ceil(quantile * len(ordered)) - 1)]
    effective = max(1, int(len(values) / _inflation([one <= value for one in values], quantile)))
    below, above = _binomial_ranks(effective, quantile, alpha)
    scale = len(values) / effective
    low = ordered[min(len(ordered), int(below * scale)) - 1] if below * scale >= 1 else 0.0
    last = min(len(ordered), math.ceil(above * scale))
    high = ordered[last - 1] if above <= effective else math.inf
    return QuantileInterval(value=value, low=low, high=high, effective_calls=effective)


def calls_for(quantile: float, alpha: float) -> int:
    """Return how many calls are enough for an interval that has two ends.

    With fewer than ln(alpha) / ln(quantile) independent calls, no call may be above the quantile.
    """
    rarer = max(quantile, 1 - quantile)
    return max(_USUAL_CALLS, math.ceil(_SPARE * math.log(alpha) / math.log(rarer)))


def _inflation(is_below: Sequence[bool], quantile: float) -> float:
    """Return how much larger the variance of batch means is than that of independent calls."""
    size = len(is_below) // _BATCHES
    if size < 2:
        return 1.0
    means = [sum(is_below[size * k : size * (k + 1)]) / size for k in range(_BATCHES)]
    return max(1.0, _UNCERTAINTY * size * variance(means) / (quantile * (1 - quantile)))


def _binomial_ranks(count: int, quantile: float, alpha: float) -> tuple[int, int]:
    """Return the ranks of the order statistics that are the ends, 1 for the smallest value.

    0: no value is low enough. count + 1: no value is high enough.
    """
    log_p, log_q = math.log(quantile), math.log1p(-quantile)
    below, above, sum_ = 0, count + 1, 0.0
    for k in range(count + 1):
        # The k-th value is above the quantile if fewer than k values are below it.
        if sum_ <= alpha:
            below = k
        if sum_ >= 1 - alpha:
            above = k
            break
        log_choose = math.lgamma(count + 1) - math.lgamma(k + 1) - math.lgamma(count - k + 1)
        sum_ += math.exp(log_choose + k * log_p + (count - k) * log_q)
    return below, above
