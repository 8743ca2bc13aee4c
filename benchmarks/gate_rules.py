"""The rules by which other tools call new samples slower than old ones."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from statistics import fmean, median

import numpy as np

Rule = Callable[[Sequence[float], Sequence[float]], bool]
# asv.statistics.is_different's p_threshold.
_ASV_P = 0.002
# Criterion's defaults: significance level, confidence level, resamples (here fewer).
_CRITERION_P, _CRITERION_CONFIDENCE, _RESAMPLES = 0.05, 0.95, 2000
# Its bootstrap takes samples by the hundred.
_CRITERION_SAMPLES = 100


def compare_fail(statistic: Callable[[Sequence[float]], float], limit: float) -> Rule:
    """pytest-benchmark's --benchmark-compare-fail=STATISTIC:LIMIT."""
    return lambda old, new: statistic(new) > (1 + limit) * statistic(old)


def mann_whitney(factor: float) -> Rule:
    """asv: samples differ by the Mann-Whitney U test, and medians by more than a factor."""

    def rule(old: Sequence[float], new: Sequence[float]) -> bool:
        from scipy.stats import mannwhitneyu

        differ = mannwhitneyu(old, new, alternative="two-sided").pvalue < _ASV_P
        return bool(differ) and median(new) > factor * median(old)

    return rule


def criterion(noise_threshold: float) -> Rule:
    """Criterion.rs: a bootstrapped t test of the means, and the change's interval beyond noise.

    Source: its book, "Analysis process", and analysis/compare.rs.
    """

    def rule(old: Sequence[float], new: Sequence[float]) -> bool:
        a, b = np.array(old[-_CRITERION_SAMPLES:]), np.array(new[-_CRITERION_SAMPLES:])
        rng = np.random.default_rng(0)
        both = np.concatenate([a, b])
        mixed = rng.choice(both, (_RESAMPLES, len(both)))
        t = _t(mixed[:, : len(a)], mixed[:, len(a) :])
        p = float(np.mean(np.abs(t) >= abs(_t(a[None], b[None])[0])))
        means_a = rng.choice(a, (_RESAMPLES, len(a))).mean(axis=1)
        means_b = rng.choice(b, (_RESAMPLES, len(b))).mean(axis=1)
        low = np.quantile(means_b / means_a - 1, (1 - _CRITERION_CONFIDENCE) / 2)
        return p < _CRITERION_P and bool(low > noise_threshold)

    return rule


def _t(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Welch's t of rows."""
    variance = a.var(axis=1, ddof=1) / a.shape[1] + b.var(axis=1, ddof=1) / b.shape[1]
    return np.asarray((a.mean(axis=1) - b.mean(axis=1)) / np.sqrt(variance))


RULES: dict[str, Rule] = {
    "median:3%": compare_fail(median, 0.03),
    "mean:3%": compare_fail(fmean, 0.03),
    "asv 1.1": mann_whitney(1.1),
    "asv 1.03": mann_whitney(1.03),
    "Criterion 3%": criterion(0.03),
}
