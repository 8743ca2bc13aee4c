"""Properties of the gate's bounds and of what is decided by them."""

from __future__ import annotations

import math
from statistics import median

from hypothesis import given
from hypothesis import strategies as st

from pytest_tvmtune.core.gating.confidence_sequence import (
    Epoch,
    confidence_bounds,
    decide,
    evidence_of,
    item_alpha,
    needed_signs,
)
from pytest_tvmtune.core.settings.quantities import Threshold

ALPHAS = st.floats(1e-6, 0.2)
VALUES = st.lists(st.floats(-10, 10), min_size=1, max_size=60)
SECONDS = st.floats(1e-6, 10.0)
EPOCHS = st.lists(
    st.lists(st.tuples(SECONDS, SECONDS), min_size=1, max_size=4).map(
        lambda pairs: Epoch(
            baseline_s=tuple(one for one, _ in pairs), now_s=tuple(one for _, one in pairs)
        )
    ),
    min_size=1,
    max_size=40,
)
THRESHOLDS = st.floats(0.001, 2.0).map(lambda ratio: Threshold(text="t", ratio=ratio))


def wealth(epochs: int, signs: int) -> float:
    """Return the bettor's wealth, by the integral that the module's text gives."""
    steps = 4000
    width = 0.5 / steps
    at = (0.5 + (number + 0.5) * width for number in range(steps))
    return sum(2 * (2 * p) ** signs * (2 - 2 * p) ** (epochs - signs) * width for p in at)


@given(epochs=st.integers(1, 40), alpha=ALPHAS)
def test_the_needed_signs_are_the_first_that_earn_enough(epochs: int, alpha: float) -> None:
    needed = needed_signs(epochs, alpha)
    short = epochs if needed is None else needed - 1
    assert wealth(epochs, short) < 1.001 / alpha
    assert needed is None or wealth(epochs, needed) > 0.999 / alpha


@given(values=VALUES, alpha=ALPHAS)
def test_the_median_is_within_bounds_that_mirror(values: list[float], alpha: float) -> None:
    low, high = confidence_bounds(values, alpha)
    assert low <= median(values) <= high
    assert confidence_bounds([-one for one in values], alpha) == (-high, -low)
    assert confidence_bounds(values[::-1], alpha) == (low, high)


@given(values=VALUES, alpha=ALPHAS, other=ALPHAS)
def test_more_certain_is_wider(values: list[float], alpha: float, other: float) -> None:
    low, high = confidence_bounds(values, min(alpha, other))
    narrow_low, narrow_high = confidence_bounds(values, max(alpha, other))
    assert low <= narrow_low <= narrow_high <= high


@given(epochs=EPOCHS, alpha=ALPHAS, threshold=THRESHOLDS)
def test_what_is_decided_stays_so_at_the_end_and_mirrors(
    epochs: list[Epoch], alpha: float, threshold: Threshold
) -> None:
    evidence = evidence_of(epochs, alpha)
    assert evidence.low <= evidence.ratio * (1 + 1e-12)
    assert evidence.ratio <= evidence.high * (1 + 1e-12)
    early, late = (decide(evidence, threshold, final=final) for final in (False, True))
    assert late in {early, "PASS"} if early == "INCONCLUSIVE" else late == early
    swapped = [Epoch(baseline_s=one.now_s, now_s=one.baseline_s) for one in epochs]
    mirrored = decide(evidence_of(swapped, alpha), threshold, final=False)
    fast, slow = threshold.limits(1.0)
    ends = (evidence.low, evidence.high)
    # Two roundings of one number may fall on either side of a limit.
    if not any(math.isclose(end, limit) for end in ends for limit in (fast, slow)):
        swap = {"REGRESSION": "IMPROVEMENT", "IMPROVEMENT": "REGRESSION"}
        assert mirrored == swap.get(early, early)


@given(items=st.integers(1, 50), decisions=st.integers(1, 50))
def test_all_decisions_of_a_session_share_one_chance_of_error(items: int, decisions: int) -> None:
    spent = items * sum(item_alpha(items, before) for before in range(decisions))
    assert spent <= item_alpha(1) / 0.98 * (1 + 1e-12)
