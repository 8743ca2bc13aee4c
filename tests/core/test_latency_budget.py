"""Latency budgets: their forms, and the interval that decides them."""

from __future__ import annotations

import math
import random
from statistics import NormalDist

import pytest

from pytest_tvmtune.core.errors import OptionError
from pytest_tvmtune.core.gating.quantile_interval import quantile_interval
from pytest_tvmtune.core.settings.latency_budget import parse_budgets, parse_cpu


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("5ms", [("median", 0.005)]),
        ("median:5 ms", [("median", 0.005)]),
        ("p99:8ms", [("p99", 0.008)]),
        ("5ms, p99.9:1s", [("median", 0.005), ("p99.9", 1.0)]),
        (["50us", "p90:1ms"], [("median", 5e-5), ("p90", 1e-3)]),
    ],
)
def test_forms(given: object, expected: list[tuple[str, float]]) -> None:
    found = [(one.statistic, one.limit_s) for one in parse_budgets(given, "max_latency")]
    assert [name for name, _ in found] == [name for name, _ in expected]
    assert [limit for _, limit in found] == pytest.approx([limit for _, limit in expected])


@pytest.mark.parametrize(
    "given",
    ["5", 5, "", "p99", "p0:5ms", "p100:5ms", "p99:5", "mean:5ms", "5ns", "-5ms", "5ms, 6ms"],
)
def test_other_forms_are_refused(given: object) -> None:
    with pytest.raises(OptionError, match=r"^max_latency: "):
        parse_budgets(given, "max_latency")


@pytest.mark.parametrize("given", ["", " ", 3])
def test_a_cpu_needs_a_name(given: object) -> None:
    with pytest.raises(OptionError, match="is not a part of the name of a CPU"):
        parse_cpu(given, "only_on")


@pytest.mark.parametrize("correlation", [0.0, 0.8])
@pytest.mark.parametrize("quantile", [0.5, 0.99])
def test_the_interval_covers_the_quantile(correlation: float, quantile: float) -> None:
    """Each end is wrong in 5 % of the cases at most, of which 60 of 600 are 3.8 errors too many."""
    rng, alpha, repeats = random.Random(5), 0.05, 200
    true = math.exp(NormalDist().inv_cdf(quantile))
    above = below = 0
    for _ in range(repeats):
        value, calls = rng.gauss(0, 1), []
        for _ in range(1000):
            value = correlation * value + math.sqrt(1 - correlation**2) * rng.gauss(0, 1)
            calls.append(math.exp(value))
        found = quantile_interval(calls, quantile, alpha)
        assert found.low <= found.value <= found.high
        above += found.low > true
        below += found.high < true
    assert max(above, below) <= repeats * alpha + 4 * math.sqrt(repeats * alpha)


def test_too_few_calls_have_no_upper_end() -> None:
    found = quantile_interval([1.0] * 100, 0.99, 0.005)
    assert (found.low, found.value, found.high) == (1.0, 1.0, math.inf)
    assert quantile_interval([2.0], 0.5, 0.005).low == 0.0


def test_calls_that_depend_on_each_other_count_less() -> None:
    """The first half is slow: so few batches show it, however many calls there are."""
    found = quantile_interval([2.0] * 500 + [1.0] * 500, 0.5, 0.005)
    assert found.effective_calls < 50
    assert (found.low, found.high) == (1.0, 2.0)
