"""Counts, durations, tolerances and thresholds as users write them."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from pytest_tvmtune.core.errors import OptionError
from pytest_tvmtune.core.settings.quantities import (
    MAX_TRIALS,
    Threshold,
    parse_count,
    parse_seconds,
    parse_share,
    parse_threshold,
    parse_tolerance,
)


@pytest.mark.parametrize(
    ("value", "count"),
    [(0, 0), ("0", 0), (" 64 ", 64), ("+7", 7), (MAX_TRIALS, MAX_TRIALS), ("1000000", MAX_TRIALS)],
)
def test_counts_within_the_bounds(value: object, count: int) -> None:
    assert parse_count(value, "trials", minimum=0) == count


@pytest.mark.parametrize(
    "value",
    [
        True,
        False,
        1.0,
        1.5,
        None,
        [],
        "",
        "1.5",
        "1e3",
        "ten",
        "0x10",
        "1_000",
        pytest.param("9" * 5000, id="5000 digits"),
    ],
)
def test_what_is_no_count(value: object) -> None:
    with pytest.raises(OptionError, match=r"^trials: .* a whole number from 0 to 1000000"):
        parse_count(value, "trials", minimum=0)


@pytest.mark.parametrize("value", [-1, "-1", MAX_TRIALS + 1, str(MAX_TRIALS + 1)])
def test_counts_out_of_range(value: object) -> None:
    with pytest.raises(OptionError, match=r"out of range; give a whole number from 0 to 1000000"):
        parse_count(value, "trials", minimum=0)


def test_own_bounds_are_inclusive() -> None:
    assert parse_count(1, "n", minimum=1, maximum=2) == 1
    assert parse_count(2, "n", minimum=1, maximum=2) == 2
    with pytest.raises(OptionError, match="n: 3 is out of range; give a whole number from 1 to 2"):
        parse_count(3, "n", minimum=1, maximum=2)
    with pytest.raises(OptionError, match="n: 0 is out of range"):
        parse_count(0, "n", minimum=1, maximum=2)


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (10, 10.0),
        (0.25, 0.25),
        ("10", 10.0),
        ("10s", 10.0),
        (" 2.5 s ", 2.5),
        ("500ms", 0.5),
        ("50us", 50e-6),
        (".5s", 0.5),
        ("1.", 1.0),
    ],
)
def test_durations_become_seconds(value: object, seconds: float) -> None:
    assert parse_seconds(value, "max_time") == pytest.approx(seconds, rel=1e-12)


@pytest.mark.parametrize(
    "value",
    [0, 0.0, -1, "0", "0ms", "-1s", "1m", "1h", "ten", "", "1e3", "s", math.inf, math.nan,
     pytest.param("9" * 400, id="400 digits"), pytest.param(10**400, id="huge"), True, None, [1]],
)  # fmt: skip
def test_what_is_no_duration(value: object) -> None:
    with pytest.raises(OptionError, match=r"^max_time: .* is not a positive duration such as 10"):
        parse_seconds(value, "max_time")


@pytest.mark.parametrize(("value", "number"), [(0, 0.0), (1e-3, 1e-3), (2, 2.0)])
def test_tolerances(value: object, number: float) -> None:
    parsed = parse_tolerance(value, "rtol")
    assert parsed == number
    assert isinstance(parsed, float)


@pytest.mark.parametrize(
    "value", [-1e-9, math.inf, math.nan, True, "1e-3", None, pytest.param(10**400, id="huge")]
)
def test_what_is_no_tolerance(value: object) -> None:
    with pytest.raises(OptionError, match=r"^rtol: .* number of at least 0"):
        parse_tolerance(value, "rtol")


@pytest.mark.parametrize(
    ("text", "ratio", "seconds"),
    [
        ("3%", 0.03, None),
        (" 2.5 % ", 0.025, None),
        ("1000%", 10.0, None),
        (".5%", 0.005, None),
        ("0.2ms", None, 0.2e-3),
        ("50us", None, 50e-6),
        ("1s", None, 1.0),
    ],
)
def test_thresholds(text: str, ratio: float | None, seconds: float | None) -> None:
    threshold = parse_threshold(text, "threshold")
    assert threshold.ratio == (None if ratio is None else pytest.approx(ratio))
    assert threshold.seconds == (None if seconds is None else pytest.approx(seconds))
    assert threshold.text == text.strip()
    assert parse_threshold(threshold, "threshold") is threshold


@pytest.mark.parametrize(
    "value",
    ["3", "0.2", 3, 0.03, "0%", "0ms", "-3%", "1001%", "3 percent", "%", "", "nan%", None, True,
     pytest.param("9" * 400 + "s", id="400 digits")],
)  # fmt: skip
def test_what_is_no_threshold(value: object) -> None:
    with pytest.raises(OptionError, match=r"^--tvm-threshold: .* a positive percentage such as 3%"):
        parse_threshold(value, "--tvm-threshold")


def test_what_a_threshold_means_for_a_baseline() -> None:
    assert parse_threshold("3%", "t").limits(5.0) == pytest.approx((1 / 1.03, 1.03))
    assert parse_threshold("0.2ms", "t").limits(10e-3) == pytest.approx((1 / 1.02, 1.02))
    assert parse_threshold("0.2ms", "t").limits(0.1e-3) == pytest.approx((1 / 3, 3.0))


def test_what_is_accepted_moves_the_slow_limit_only() -> None:
    threshold = replace(parse_threshold("3%", "t"), accepted_ratio=0.05)
    assert threshold.limits(1.0) == pytest.approx((1 / 1.03, 1.03 * 1.05))


@pytest.mark.parametrize(("text", "share"), [("5%", 0.05), (" 0% ", 0.0), ("12.5 %", 0.125)])
def test_shares(text: str, share: float) -> None:
    assert parse_share(text, "s") == pytest.approx(share)


@pytest.mark.parametrize("given", ["5", 0.05, "-1%", "1001%", "%", None, True])
def test_no_shares(given: object) -> None:
    with pytest.raises(OptionError, match=r"s: .* is not a percentage such as 5% or 0%"):
        parse_share(given, "s")


@pytest.mark.parametrize("both", [{}, {"ratio": 0.1, "seconds": 0.1}])
def test_a_threshold_has_one_meaning(both: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="either a ratio or seconds"):
        Threshold(text="?", **both)
