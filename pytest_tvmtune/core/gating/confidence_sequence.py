"""The latency gate's decision, from epochs of paired samples to a verdict.

The decision is sequential and distribution-free. For a candidate m for the median of the epochs'
log ratios, only the signs of (ratio - m) count. If m is the median, or above it, each sign is
positive with a probability of at most 1/2, for noise of any shape. This also holds
given the earlier epochs: the random order of a pair cancels disturbances that both sides share,
such as load or clock speed, and the new placement cancels the state of one side.

A bettor spreads bets evenly over all probabilities above 1/2. By Ville's inequality, the wealth of
the bettor ever reaches 1/alpha with a probability of at most alpha. The values m whose bettor
didn't reach it form a confidence sequence: an interval that holds after every epoch, so that the
measurement can stop at any epoch.

Sources: Robbins, Statistical methods related to the law of the iterated logarithm, Ann. Math.
Stat. 41 (1970), for the mixture; Howard and Ramdas, Sequential estimation of quantiles with
applications to A/B testing and best-arm identification, Bernoulli 28 (2022), for the interval;
Ramdas, Gruenwald, Vovk and Shafer, Game-theoretic statistics and safe anytime-valid inference,
Stat. Sci. 38 (2023), for betting.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from itertools import count
from statistics import median

from pytest_tvmtune.core.gating.verdict import Verdict
from pytest_tvmtune.core.settings.quantities import Threshold

# The chance of a false REGRESSION in a whole session, and that of a false PASS.
SESSION_ALPHA = 0.01
# Of the ratio, on either side of every interval. The epochs of a process have a small bias in
# common (docs/explanation/gate-statistics.md), which more epochs don't reduce.
MOST_BIAS = math.log(1.001)
# Epochs that a slow model gets, whatever they take: enough for a decision.
MIN_EPOCHS = 20
# A test may gate several models, nobody knows how many. The first takes this part of the test's
# share of alpha: nearly all of it, for the test that has one. The k-th after it takes 6/(pi k)^2 of
# the rest, which add up to all of it.
_FIRST_SHARE = 0.98


@dataclass(frozen=True, kw_only=True)
class Epoch:
    """Paired seconds per call, taken with one placement of code and tensors in memory."""

    baseline_s: tuple[float, ...]
    now_s: tuple[float, ...]

    def __post_init__(self) -> None:
        if len(self.baseline_s) != len(self.now_s) or not self.now_s:
            raise ValueError("an epoch holds at least one pair")
        if not all(0 < s < math.inf for s in (*self.baseline_s, *self.now_s)):
            raise ValueError("seconds are positive and finite")

    @property
    def log_ratio(self) -> float:
        """Median over the pairs of ln(now / baseline); pairs share their placement's bias."""
        return median(self.pair_log_ratios)

    @property
    def pair_log_ratios(self) -> list[float]:
        """ln(now / baseline) of each pair."""
        pairs = zip(self.now_s, self.baseline_s, strict=True)
        return [math.log(now / baseline) for now, baseline in pairs]


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """The evidence in the epochs. Ratios are now/baseline; `low` and `high` bound the true ratio.

    alpha: the probability that the interval was above the true median, at this look or an earlier
    look. The probability that it was below is the same. With too few epochs, `low` is 0 and `high`
    is infinite.
    """

    ratio: float
    low: float
    high: float
    alpha: float
    baseline_median_s: float
    now_median_s: float
    epochs: int
    pairs: int


def item_alpha(items: int, gated_before: int = 0) -> float:
    """Return the alpha of one decision: all of a session's add up to SESSION_ALPHA.

    items: gated test items collected in the session. gated_before: decisions this item made.
    """
    share = _FIRST_SHARE
    if gated_before:
        share = (1 - _FIRST_SHARE) * 6 / (math.pi * gated_before) ** 2
    return SESSION_ALPHA / items * share


@lru_cache(maxsize=4096)
def needed_signs(epochs: int, alpha: float) -> int | None:
    """Return how many of the epochs' signs must agree to reject at `alpha`; None: all won't do.

    With k of n positive the wealth is the integral over p from 1/2 to 1 of
    2 (2p)^k (2-2p)^(n-k) dp = sum(C(n+1, j), j <= k) / ((n+1) C(n, k)), by the incomplete beta
    function; it grows with k.
    """
    # Exact, in integers: floats overflow after a thousand epochs.
    exact = Fraction(alpha)
    sum_, row, choose = 0, 1, 1
    for k in range(epochs + 1):
        sum_ += row  # C(n+1, 0) + ... + C(n+1, k)
        # Below half of them the wealth is less than 1.
        if 2 * k > epochs and exact.numerator * sum_ >= exact.denominator * (epochs + 1) * choose:
            return k
        row = row * (epochs + 1 - k) // (k + 1)
        choose = choose * (epochs - k) // (k + 1)
    return None


@lru_cache(maxsize=256)
def fewest_epochs(alpha: float) -> int:
    """Return after how many epochs the quickest decision can fall: all of their signs agree."""
    return next(n for n in count(1) if needed_signs(n, alpha) is not None)


def least_epochs(alpha: float) -> int:
    """Return how many epochs are taken, however long they last, before time may run out."""
    return max(MIN_EPOCHS, 2 * fewest_epochs(alpha))


def confidence_bounds(values: Sequence[float], alpha: float) -> tuple[float, float]:
    """Return (low, high) for the median; each is ever wrong with probability at most alpha.

    Order statistics; infinite while there are too few values.
    """
    ordered = sorted(values)
    needed = needed_signs(len(ordered), alpha)
    if needed is None:
        return -math.inf, math.inf
    # Any m below the (n - needed + 1)-th value has at least `needed` values above it.
    return ordered[len(ordered) - needed], ordered[needed - 1]


def evidence_of(epochs: Sequence[Epoch], alpha: float) -> Evidence:
    """Return the evidence in at least one epoch."""
    ratios = [epoch.log_ratio for epoch in epochs]
    low, high = confidence_bounds(ratios, alpha)
    return Evidence(
        ratio=math.exp(median(ratios)),
        low=math.exp(low - MOST_BIAS),
        high=math.exp(high + MOST_BIAS),
        alpha=alpha,
        baseline_median_s=median(s for epoch in epochs for s in epoch.baseline_s),
        now_median_s=median(s for epoch in epochs for s in epoch.now_s),
        epochs=len(epochs),
        pairs=sum(len(epoch.now_s) for epoch in epochs),
    )


def decide(evidence: Evidence, threshold: Threshold, *, final: bool) -> Verdict:
    """Return the verdict for the threshold +t and its mirror -t on a log scale.

    final: whether no epoch follows. Without it, INCONCLUSIVE means that more epochs are needed.
    With it, an upper end below +t is enough for PASS, because the gate looks for slowdowns.
    """
    fast, slow = threshold.limits(evidence.baseline_median_s)
    if evidence.low > slow:
        return "REGRESSION"
    if evidence.high < fast:
        return "IMPROVEMENT"
    if evidence.high < slow and (final or evidence.low > fast):
        return "PASS"
    return "INCONCLUSIVE"


def spread(epochs: Sequence[Epoch]) -> float:
    """Return how much the epochs' log ratios scatter, as a standard deviation, robustly.

    1.4826 times the median absolute deviation; Rousseeuw and Croux, J. Am. Stat. Assoc. 88 (1993).
    """
    ratios = [epoch.log_ratio for epoch in epochs]
    middle = median(ratios)
    return 1.4826 * median(abs(ratio - middle) for ratio in ratios)


def resolvable_ratio(evidence: Evidence) -> float:
    """Return the smallest slowdown that could be decided, from epochs of one library with itself.

    Infinite where there were too few epochs.
    """
    return max(evidence.high, 1 / evidence.low if evidence.low else math.inf)
