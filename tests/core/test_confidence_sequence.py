"""The gate's statistics: what bounds the median at every look, and verdicts from it."""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from fractions import Fraction
from itertools import accumulate, pairwise

import pytest

from pytest_tvmtune.core.gating.confidence_sequence import (
    SESSION_ALPHA,
    Epoch,
    Evidence,
    confidence_bounds,
    decide,
    evidence_of,
    fewest_epochs,
    item_alpha,
    least_epochs,
    needed_signs,
    resolvable_ratio,
    spread,
)
from pytest_tvmtune.core.gating.verdict import Verdict
from pytest_tvmtune.core.settings.quantities import parse_threshold
from tests.core.made_up import evidence

ALPHAS = (0.25, 0.05, 0.01, item_alpha(1), item_alpha(20), item_alpha(1000))


# -- The wealth, computed from its definition -------------------------------------------------


def wealth(n: int, k: int) -> Fraction:
    """The integral of 2 (2p)^k (2-2p)^(n-k) over p from 1/2 to 1, exactly.

    With u = 2p - 1: that of (1+u)^k (1-u)^(n-k) from 0 to 1, a polynomial, term by term.
    """
    terms = [1]
    for sign in [1] * k + [-1] * (n - k):
        terms = [a + sign * b for a, b in zip([*terms, 0], [0, *terms], strict=True)]
    return sum((Fraction(term, power + 1) for power, term in enumerate(terms)), Fraction(0))


def log_wealth(n: int, k: int, steps: int = 20_000) -> float:
    """The same for many signs: the midpoint rule, on a log scale against overflow."""
    grid = ((i + 0.5) / steps for i in range(steps))
    logs = [k * math.log1p(u) + (n - k) * math.log1p(-u) for u in grid]
    top = max(logs)
    return top + math.log(math.fsum(math.exp(one - top) for one in logs) / steps)


@pytest.mark.parametrize("n", [*range(1, 26), 40, 61, 100])
def test_needed_signs_are_the_first_whose_wealth_reaches_1_over_alpha(n: int) -> None:
    by_k = [wealth(n, k) for k in range(n + 1)]
    assert all(few < more for few, more in pairwise(by_k))
    for alpha in ALPHAS:
        enough = [k for k, reached in enumerate(by_k) if reached >= 1 / Fraction(alpha)]
        assert needed_signs(n, alpha) == min(enough, default=None), alpha


@pytest.mark.parametrize("n", [300, 1100, 3000])
def test_needed_signs_of_more_epochs_than_floats_can_count(n: int) -> None:
    for alpha in (0.05, item_alpha(1000)):
        needed = needed_signs(n, alpha)
        assert needed is not None
        assert log_wealth(n, needed - 1) < -math.log(alpha) <= log_wealth(n, needed)


def test_wealth_that_just_reaches_1_over_alpha_is_enough() -> None:
    # Nine of nine: the integral of (1+u)^9 from 0 to 1. No float is its inverse.
    reached = Fraction(2**10 - 1, 10)
    assert wealth(9, 9) == reached
    below = float(1 / reached)
    assert Fraction(below) < 1 / reached < Fraction(math.nextafter(below, 1.0))
    assert needed_signs(9, math.nextafter(below, 1.0)) == 9
    assert needed_signs(9, below) is None


@pytest.mark.parametrize("alpha", ALPHAS)
def test_one_more_epoch_needs_no_sign_or_one_more(alpha: float) -> None:
    fewest = fewest_epochs(alpha)
    needed = [needed_signs(n, alpha) for n in range(fewest, 400)]
    steps = [b - a for a, b in pairwise(needed) if a is not None and b is not None]
    assert len(steps) == len(needed) - 1
    assert set(steps) == {0, 1}
    assert needed[0] == fewest
    # Towards half of them, never to it.
    assert 200 < (needed[-1] or 0) < 260


def test_a_smaller_alpha_needs_more() -> None:
    for n in (25, 50, 200):
        needed = [needed_signs(n, alpha) or math.inf for alpha in (1e-6, 1e-4, 0.01, 0.1, 0.25)]
        assert all(strict > lax for strict, lax in pairwise(needed)), n


@pytest.mark.parametrize("alpha", ALPHAS)
def test_too_few_epochs_are_those_below_fewest_epochs(alpha: float) -> None:
    fewest = fewest_epochs(alpha)
    enough = [needed_signs(n, alpha) is not None for n in range(60)]
    assert enough == [False] * fewest + [True] * (60 - fewest)


@pytest.mark.parametrize(("items", "epochs"), [(1, 9), (20, 14), (100, 17), (1000, 21)])
def test_how_soon_a_session_can_decide(items: int, epochs: int) -> None:
    assert fewest_epochs(item_alpha(items)) == epochs


@pytest.mark.parametrize(("items", "epochs"), [(1, 20), (20, 28), (100, 34), (1000, 42)])
def test_a_slow_model_gets_twice_as_many_epochs_as_could_decide(items: int, epochs: int) -> None:
    assert least_epochs(item_alpha(items)) == epochs


# -- What makes every look a valid one --------------------------------------------------------


def test_the_wealth_grows_from_1_and_not_on_average() -> None:
    """Ville's inequality needs this: a nonnegative supermartingale that starts at 1."""
    assert wealth(0, 0) == 1
    for n in range(30):
        for k in range(n + 1):
            now, after_plus, after_minus = wealth(n, k), wealth(n + 1, k + 1), wealth(n + 1, k)
            assert now > 0
            assert (after_plus + after_minus) / 2 == now
            for chance in (Fraction(0), Fraction(1, 3), Fraction(49, 100)):
                assert chance * after_plus + (1 - chance) * after_minus < now


def chance_to_ever_reach(needed: Callable[[int], int | None], looks: int) -> Fraction:
    """Return the chance that of fair signs so many are ever positive, over that many looks."""
    paths, reached = [1], Fraction(0)
    for n in range(1, looks + 1):
        # paths[k]: of the 2**n sequences, those with k positive signs that had not yet enough.
        paths = [a + b for a, b in zip([*paths, 0], [0, *paths], strict=True)]
        enough = needed(n)
        if enough is not None:
            reached += Fraction(sum(paths[enough:]), 2**n)
            paths[enough:] = [0] * len(paths[enough:])
    return reached


@pytest.mark.parametrize("alpha", ALPHAS)
def test_fair_signs_are_ever_bet_out_with_at_most_alpha(alpha: float) -> None:
    """Exact, at every one of 400 looks; and not by giving away most of alpha."""
    chance = chance_to_ever_reach(lambda n: needed_signs(n, alpha), looks=400)
    assert 0.5 * alpha < chance <= alpha


def test_a_test_for_one_look_errs_when_it_is_looked_at_often() -> None:
    """What this is not: a sign test at level alpha after each epoch."""
    alpha = 0.05

    def sign_test(n: int) -> int:
        tails = accumulate(math.comb(n, i) for i in range(n + 1))  # by symmetry, of n - i or more
        return n + 1 - len([tail for tail in tails if tail <= alpha * 2**n])

    assert chance_to_ever_reach(sign_test, looks=150) > 4 * alpha


# -- The interval -----------------------------------------------------------------------------


def bounds_by_betting(values: list[float], alpha: float) -> tuple[float, float]:
    """The candidates between, on and beyond the values that neither bettor's wealth rejects."""
    ordered = sorted(set(values))
    between = [(a + b) / 2 for a, b in pairwise(ordered)]
    candidates = sorted([ordered[0] - 1, *ordered, *between, ordered[-1] + 1])
    n, enough = len(values), 1 / Fraction(alpha)
    # A value that equals the candidate speaks for neither.
    kept = [
        m for m in candidates
        if wealth(n, sum(v > m for v in values)) < enough
        and wealth(n, sum(v < m for v in values)) < enough
    ]  # fmt: skip
    low = -math.inf if kept[0] == candidates[0] else kept[0]
    high = math.inf if kept[-1] == candidates[-1] else kept[-1]
    return low, high


@pytest.mark.parametrize("alpha", [0.25, 0.05, 0.01])
@pytest.mark.parametrize("n", [1, 2, 4, 5, 6, 7, 9, 10, 15, 24])
def test_the_interval_holds_what_was_not_bet_out(n: int, alpha: float) -> None:
    rng = random.Random(n)
    for distinct in (1, 2, 3, 5, 10 * n):
        # Few distinct values: many ties.
        values = [float(rng.randrange(distinct)) for _ in range(n)]
        assert confidence_bounds(values, alpha) == bounds_by_betting(values, alpha), values


@pytest.mark.parametrize("n", [9, 10, 33, 100])
def test_the_bounds_are_order_statistics(n: int) -> None:
    needed = needed_signs(n, 0.01)
    assert needed is not None
    values = [float(rank) for rank in range(1, n + 1)]
    low, high = confidence_bounds(random.Random(n).sample(values, n), 0.01)
    assert (low, high) == (n - needed + 1, needed)
    assert low <= (n + 1) / 2 <= high


def test_known_intervals() -> None:
    # 1-based ranks of the wealth's definition above: 10 of 10 are needed, 18 of 20, 68 of 100.
    alpha = item_alpha(1)
    ranks = {n: confidence_bounds([float(i + 1) for i in range(n)], alpha) for n in (10, 20, 100)}
    assert ranks == {10: (1, 10), 20: (3, 18), 100: (33, 68)}


@pytest.mark.parametrize("n", [0, 1, 8])
def test_too_few_values_bound_nothing(n: int) -> None:
    assert confidence_bounds([1.0] * n, item_alpha(1)) == (-math.inf, math.inf)
    assert confidence_bounds([1.0] * 9, item_alpha(1)) == (1.0, 1.0)


def test_the_interval_of_the_mirror_image_is_mirrored() -> None:
    rng = random.Random(3)
    for n in (5, 9, 12, 40):
        values = [rng.gauss(0.1, 1) for _ in range(n)]
        low, high = confidence_bounds(values, 0.02)
        assert confidence_bounds([-v for v in values], 0.02) == (-high, -low)


def test_the_interval_leaves_its_values_alone() -> None:
    values = [3.0, 1.0, 2.0] * 5
    confidence_bounds(values, 0.05)
    assert values == [3.0, 1.0, 2.0] * 5


# -- What a session may err -------------------------------------------------------------------


@pytest.mark.parametrize("items", [1, 2, 3, 7, 20, 100, 1000, 12345])
def test_all_decisions_of_a_session_share_its_alpha(items: int) -> None:
    of_one_item = [item_alpha(items, before) for before in range(60)]
    assert all(more > less > 0 for more, less in pairwise(of_one_item))
    assert items * math.fsum(of_one_item) <= SESSION_ALPHA * (1 + 1e-12)
    # With one decision an item, nearly all of that is used.
    assert items * item_alpha(items) == pytest.approx(SESSION_ALPHA, rel=0.05)


# -- Verdicts ---------------------------------------------------------------------------------


def decisions(found: Evidence, threshold: str) -> tuple[Verdict, Verdict]:
    """Return what is said while epochs may follow, and what when none does."""
    parsed = parse_threshold(threshold, "t")
    return decide(found, parsed, final=False), decide(found, parsed, final=True)


@pytest.mark.parametrize(
    ("low", "high", "meanwhile", "final"),
    [
        (1.051, 1.2, "REGRESSION", "REGRESSION"),
        (1.049, 1.2, "INCONCLUSIVE", "INCONCLUSIVE"),
        (0.5, 3.0, "INCONCLUSIVE", "INCONCLUSIVE"),
        (0.99, 1.051, "INCONCLUSIVE", "INCONCLUSIVE"),
        (0.99, 1.049, "PASS", "PASS"),
        (1.01, 1.02, "PASS", "PASS"),
        # The mirror of 1.05 is 1/1.05 = 0.9524, not 0.95.
        (0.953, 1.049, "PASS", "PASS"),
        (0.952, 1.049, "INCONCLUSIVE", "PASS"),
        (0.90, 0.953, "INCONCLUSIVE", "PASS"),
        (0.5, 1.049, "INCONCLUSIVE", "PASS"),
        (0.90, 0.952, "IMPROVEMENT", "IMPROVEMENT"),
        (0.5, 0.6, "IMPROVEMENT", "IMPROVEMENT"),
        # Too few epochs.
        (0.0, math.inf, "INCONCLUSIVE", "INCONCLUSIVE"),
    ],
)
def test_verdicts_against_5_percent(low: float, high: float, meanwhile: str, final: str) -> None:
    assert decisions(evidence(low, high), "5%") == (meanwhile, final)


@pytest.mark.parametrize(
    ("low", "high", "meanwhile", "final"),
    [
        (2.0, 3.0, "INCONCLUSIVE", "INCONCLUSIVE"),
        (math.nextafter(2.0, 3.0), 3.0, "REGRESSION", "REGRESSION"),
        (1.0, 2.0, "INCONCLUSIVE", "INCONCLUSIVE"),
        (1.0, math.nextafter(2.0, 1.0), "PASS", "PASS"),
        (0.5, 1.5, "INCONCLUSIVE", "PASS"),
        (math.nextafter(0.5, 1.0), 1.5, "PASS", "PASS"),
        (0.4, 0.5, "INCONCLUSIVE", "PASS"),
        (0.4, math.nextafter(0.5, 0.0), "IMPROVEMENT", "IMPROVEMENT"),
    ],
)
def test_the_threshold_itself_lies_on_neither_side(
    low: float, high: float, meanwhile: str, final: str
) -> None:
    assert decisions(evidence(low, high), "100%") == (meanwhile, final)


@pytest.mark.parametrize(
    ("baseline_s", "slower", "faster"),
    [
        # 0.2 ms is 20 % of 1 ms, 10 % of 2 ms, 2 % of 10 ms.
        (1e-3, ("PASS", "PASS"), ("PASS", "PASS")),
        (2e-3, ("INCONCLUSIVE", "INCONCLUSIVE"), ("INCONCLUSIVE", "PASS")),
        (10e-3, ("REGRESSION", "REGRESSION"), ("IMPROVEMENT", "IMPROVEMENT")),
    ],
)
def test_a_threshold_in_seconds_depends_on_the_baseline(
    baseline_s: float, slower: tuple[str, str], faster: tuple[str, str]
) -> None:
    assert decisions(evidence(1.08, 1.12, baseline_s=baseline_s), "0.2ms") == slower
    assert decisions(evidence(0.88, 0.92, baseline_s=baseline_s), "0.2ms") == faster


def test_a_threshold_in_seconds_is_a_share_of_the_baseline_not_of_now() -> None:
    # 0.2 ms are 20 % of 1 ms, but 17 % of the 1.15 ms that it takes now.
    assert decisions(evidence(1.12, 1.19, baseline_s=1e-3), "0.2ms") == ("PASS", "PASS")


# -- Epochs -----------------------------------------------------------------------------------


def epoch(log_ratio: float, pairs: int = 3) -> Epoch:
    return Epoch(baseline_s=(1.0,) * pairs, now_s=(math.exp(log_ratio),) * pairs)


def test_an_epoch_is_the_median_of_its_pairs() -> None:
    # Ratios 2, 1/2 and 8: the clock changed between the pairs, not within.
    one = Epoch(baseline_s=(1.0, 4.0, 0.5), now_s=(2.0, 2.0, 4.0))
    assert one.pair_log_ratios == pytest.approx([math.log(2), -math.log(2), math.log(8)])
    assert one.log_ratio == pytest.approx(math.log(2))
    # Of an even number, between the middle two.
    two = Epoch(baseline_s=(1.0, 4.0), now_s=(2.0, 2.0))
    assert two.log_ratio == pytest.approx(0.0)


@pytest.mark.parametrize(
    ("before", "now"), [((), ()), ((1.0,), ()), ((), (1.0,)), ((1.0,), (1.0, 2.0))]
)
def test_an_epoch_holds_pairs(before: tuple[float, ...], now: tuple[float, ...]) -> None:
    with pytest.raises(ValueError, match="at least one pair"):
        Epoch(baseline_s=before, now_s=now)


def test_weigh() -> None:
    ratios = [1.0, 1.1, 1.2, 1.3, 1.4, 1.5, 1.6, 1.7, 1.8, 1.9]
    epochs = [Epoch(baseline_s=(2.0, 2.0), now_s=(2.0 * r, 2.0 * r)) for r in ratios]
    # Nine of ten are needed: the second and the last but one.
    found = evidence_of(random.Random(1).sample(epochs, 10), 0.2)
    assert found.ratio == pytest.approx(math.sqrt(1.4 * 1.5))
    # A process's bias is allowed for on either side.
    assert (found.low, found.high) == pytest.approx((1.1 / 1.001, 1.8 * 1.001))
    assert found.alpha == 0.2
    assert found.baseline_median_s == 2.0
    assert found.now_median_s == pytest.approx(2.9)
    assert (found.epochs, found.pairs) == (10, 20)


def test_an_epoch_counts_once_however_many_its_pairs() -> None:
    slow, fast = epoch(math.log(2), pairs=100), epoch(0.0, pairs=1)
    found = evidence_of([slow] + [fast] * 9, 0.05)
    assert (found.ratio, found.low, found.high) == pytest.approx((1.0, 1 / 1.001, 2.002))
    assert found.pairs == 109


def test_too_few_epochs_conclude_nothing() -> None:
    alpha = item_alpha(1)
    few = evidence_of([epoch(math.log(2))] * 8, alpha)
    assert (few.low, few.high) == (0.0, math.inf)
    assert few.ratio == pytest.approx(2.0)
    assert decisions(few, "5%") == ("INCONCLUSIVE", "INCONCLUSIVE")
    enough = evidence_of([epoch(math.log(2))] * 9, alpha)
    assert decisions(enough, "5%") == ("REGRESSION", "REGRESSION")


def test_spread_is_the_standard_deviation_that_outliers_do_not_move() -> None:
    rng = random.Random(5)
    ratios = [rng.gauss(0.5, 0.02) for _ in range(2000)]
    # Its standard error at 2000 values is 2.6 %.
    assert spread([epoch(r) for r in ratios]) == pytest.approx(0.02, rel=0.13)
    # A fifth of them far off: the plain deviation would be 2.
    spoilt = [r + 5 if i % 5 == 0 else r for i, r in enumerate(ratios)]
    assert spread([epoch(r) for r in spoilt]) < 0.03


def test_spread_of_few() -> None:
    assert spread([epoch(0.3)]) == 0.0
    assert spread([epoch(r) for r in (0.0, 0.1, 0.3)]) == pytest.approx(1.4826 * 0.1)


@pytest.mark.parametrize(
    ("low", "high", "ratio"),
    [
        (0.98, 1.05, 1.05),
        (0.8, 1.05, 1.25),
        # Off 1, which nothing measured against itself should be: what is sure is the far end.
        (1.02, 1.04, 1.04),
        (0.8, 0.9, 1.25),
        (1.0, 1.0, 1.0),
        (0.0, math.inf, math.inf),
    ],
)
def test_resolvable_ratio_is_the_end_farther_from_1(low: float, high: float, ratio: float) -> None:
    assert resolvable_ratio(evidence(low, high)) == pytest.approx(ratio)


def test_a_slowdown_just_resolvable_would_be_decided() -> None:
    """What the noise says: shift it so far, and its interval leaves 1 behind."""
    rng = random.Random(6)
    noise = [rng.gauss(0, 0.03) for _ in range(30)]
    resolvable = resolvable_ratio(evidence_of([epoch(r) for r in noise], 0.01))
    assert 1 < resolvable < 1.1
    for shift, clear in ((1.001 * resolvable, True), (1.0, False)):
        shifted = evidence_of([epoch(r + math.log(shift)) for r in noise], 0.01)
        assert (shifted.low > 1) is clear
