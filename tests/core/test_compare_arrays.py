"""One array against another: statistics, ULP, odd types and shapes, memory."""

from __future__ import annotations

import json
import math
import tracemalloc
from typing import Any

import ml_dtypes
import numpy as np
import pytest

from pytest_tvmtune.core.comparing.array_comparison import compare_arrays
from pytest_tvmtune.core.comparing.output_error import ElementError, OutputError
from pytest_tvmtune.core.comparing.tolerances import TOLERANCES, Tolerance
from pytest_tvmtune.core.errors import ModelError
from pytest_tvmtune.core.json_codec import from_json_values, to_json_values

pytestmark = pytest.mark.filterwarnings("error")
F32 = np.float32
ML_FLOATS = [
    "bfloat16", "float8_e3m4", "float8_e4m3", "float8_e4m3fn", "float8_e4m3fnuz",
    "float8_e4m3b11fnuz", "float8_e5m2", "float8_e5m2fnuz",
]  # fmt: skip


def check(got: Any, want: Any, **tolerance: Any) -> OutputError:
    return compare_arrays("output", np.asarray(got), np.asarray(want), Tolerance(**tolerance))


def error_of(element: ElementError | None) -> float:
    assert element is not None
    return element.error


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", *ML_FLOATS])
def test_ulp_counts_the_steps_of_the_type(dtype: str) -> None:
    kind = np.dtype(dtype)
    smallest = float(ml_dtypes.finfo(kind).smallest_subnormal)
    want = np.array([1.0, 1.5, -1.75, 0.0, smallest * 3, 2.0], kind)
    for index in range(want.size):
        # nextafter of 0 may be a type's other zero.
        step = np.spacing(np.abs(want[index])) if want[index] else kind.type(smallest)
        got = want.copy()
        got[index] = kind.type(float(want[index]) + 2 * float(step))
        worst = check(got, want).worst_ulp
        assert worst is not None
        assert (worst.index, worst.error) == ((index,), 2.0)


def test_ulp_agrees_with_numpy_spacing_on_random_numbers() -> None:
    rng = np.random.default_rng(1)
    want = (rng.standard_normal(200_000) * 10.0 ** rng.integers(-44, 30, 200_000)).astype(F32)
    got = want * (1 + rng.standard_normal(200_000).astype(F32) * F32(1e-5))
    steps = np.abs(got.astype(float) - want) / np.spacing(np.abs(want)).astype(float)
    worst = check(got, want).worst_ulp
    assert worst is not None
    assert worst.error == steps.max()
    assert worst.index == (int(steps.argmax()),)


def test_ulp_at_the_ends_of_a_type() -> None:
    most = np.finfo(F32).max
    assert error_of(check(np.nextafter(most, F32(0)), most).worst_ulp) == 1.0
    assert error_of(check(F32(np.inf), most).worst_ulp) == math.inf
    # What was computed more widely is counted in steps of the output's type.
    assert error_of(check(F32(1.0), np.float64(1 + 2.0**-24)).worst_ulp) == 0.5
    assert check(np.int32(4), np.int32(3)).worst_ulp is None


@pytest.mark.parametrize("dtype", ML_FLOATS)
def test_narrow_floats_have_tolerances(dtype: str) -> None:
    rtol, atol = TOLERANCES[dtype]
    want = np.array([1.0, 1.0, 0.0], dtype)
    one_step = np.array([1.0 + float(np.spacing(want[0])), 1.0, 0.0], dtype)
    result = check(one_step, want)
    assert (result.passed, result.rtol, result.atol, result.dtype) == (True, rtol, atol, dtype)
    assert not check(np.array([1.0, 4.0, 0.0], dtype), want).passed
    nan = np.array([math.nan, 1.0, 0.0], dtype)
    assert check(nan, nan.copy()).passed
    assert check(nan, want).unexpected_nan == 1


@pytest.mark.parametrize("dtype", ["int4", "uint4", "int2"])
def test_narrow_integers_are_exact(dtype: str) -> None:
    want = np.array([1, 0, 1], dtype)
    assert check(want.copy(), want).passed
    result = check(np.array([1, 1, 1], dtype), want)
    assert not result.passed
    assert result.worst == (ElementError(index=(1,), got="1", expected="0", error=1.0),)


def test_bools_are_exact_whatever_is_given() -> None:
    assert not check([True, False], [True, True], rtol=1, atol=1, statistic="mean").passed
    assert check([True, False], [1.0, 0.0]).passed


def test_a_tolerance_that_is_given_holds_for_integers_too() -> None:
    assert check(np.array([99], "int8"), np.array([100], "int8"), atol=1).passed
    assert not check(np.array([98], "int8"), np.array([100], "int8"), atol=1).passed


@pytest.mark.parametrize(
    ("statistic", "error", "expected"),
    [("max", 4.0, 10.0), ("mean", 1.0, 4.0), ("median", 0.0, 3.0), ("quantile:1", 4.0, 10.0),
     ("quantile:0.75", 1.0, 4.0), ("quantile:0.875", 2.5, 7.0), ("quantile:0", 0.0, 1.0)],
)  # fmt: skip
def test_statistics_are_held_against_the_same_of_the_expected(
    statistic: str, error: float, expected: float
) -> None:
    want = np.array([1.0, 2.0, -3.0, 4.0, -10.0])
    got = np.array([1.0, 2.0, -3.0, 5.0, -6.0])
    ratio = error / expected
    result = check(got, want, rtol=ratio + 1e-9, atol=0.0, statistic=statistic)
    assert result.passed
    assert (result.statistic, result.mismatches > 0) == (statistic, ratio < 0.4)
    if error:
        result = check(got, want, rtol=ratio - 1e-9, atol=0.0, statistic=statistic)
        assert (result.passed, result.error) == (False, error)
        assert result.limit == pytest.approx((ratio - 1e-9) * expected)
        result = check(got, want, rtol=0.0, atol=error - 1e-9, statistic=statistic)
        assert (result.passed, result.limit) == (False, error - 1e-9)
    assert check(got, want, rtol=0.0, atol=error, statistic=statistic).passed


@pytest.mark.parametrize("statistic", ["max", "mean", "median", "quantile:0.9"])
def test_what_passes_elementwise_passes_every_statistic(statistic: str) -> None:
    rng = np.random.default_rng(3)
    for _ in range(50):
        want = rng.standard_normal(30) * 10.0 ** rng.integers(-3, 3)
        got = want + rng.uniform(-1, 1, 30) * (0.1 + 0.1 * np.abs(want))
        assert check(got, want, rtol=0.1, atol=0.1).passed
        tight = check(got, want, rtol=0.08, atol=0.08, statistic=statistic)
        assert tight.passed or not check(got, want, rtol=0.08, atol=0.08).passed
        assert check(got, want, rtol=0.1, atol=0.1, statistic=statistic).passed


def test_a_statistic_forgives_no_nan_and_ignores_equal_infinities() -> None:
    want = np.array([1.0, 1.0, np.inf, np.nan])
    got = np.array([1.5, 1.0, np.inf, np.nan])
    for statistic in ("max", "mean", "median"):
        result = check(got, want, rtol=0.0, atol=0.4, statistic=statistic)
        assert result.error == {"max": 0.5, "mean": 0.25, "median": 0.25}[statistic]
        assert result.passed is (statistic != "max")
        result = check(np.array([np.nan, 1.0]), np.ones(2), atol=9.0, statistic=statistic)
        assert (result.passed, result.error, result.limit) == (False, None, None)


def test_statistics_over_several_pieces() -> None:
    want = np.arange(200_000, dtype=F32)
    got = want + np.linspace(0, 1, want.size, dtype=F32)
    difference = np.abs(got.astype(float) - want)
    for statistic, value in [("mean", difference.mean()), ("max", difference.max()),
                             ("quantile:0.9", np.quantile(difference, 0.9))]:  # fmt: skip
        result = check(got, want, rtol=0.0, atol=0.1, statistic=statistic)
        assert result.error == pytest.approx(value, rel=1e-12)


@pytest.mark.parametrize(
    "bad", ["average", "quantile", "quantile:", "quantile:2", "quantile:-1", "quantile:nan", ""]
)
def test_a_bad_statistic_is_told(bad: str) -> None:
    with pytest.raises(ModelError, match=r"is not one of elementwise, max, mean, median, quantile"):
        Tolerance(statistic=bad)


@pytest.mark.parametrize("bad", [-1.0, math.nan, math.inf, "1%", True])
def test_a_bad_tolerance_is_told(bad: Any) -> None:
    with pytest.raises(ModelError, match=r"atol=.* is not a finite number of at least 0"):
        Tolerance(atol=bad)


def test_counts_and_places_over_several_pieces() -> None:
    want = np.ones((3, 100_000), F32)
    got = want.copy()
    got[0, 5], got[2, 99_999], got[1, 7], got[1, 8] = 2.0, 4.0, 3.0, 1.5
    result = check(got, want)
    assert result.mismatches == 4
    assert [one.index for one in result.worst] == [(2, 99_999), (1, 7), (0, 5)]
    assert error_of(result.worst_abs) == 3.0
    # Of equal errors the first.
    got[0, 5] = got[1, 7] = 4.0
    assert [one.index for one in check(got, want).worst] == [(0, 5), (1, 7), (2, 99_999)]


def test_the_relative_error_says_nothing_of_an_expected_zero() -> None:
    result = check(np.array([1e-9, 2.2]), np.array([0.0, 2.0]))
    assert result.worst_rel is not None
    assert result.worst_rel.index == (1,)
    assert result.worst_rel.error == pytest.approx(0.1)
    assert check(np.array([1e-9]), np.array([0.0])).worst_rel is None
    assert error_of(check(np.array([np.nan]), np.array([0.0])).worst_rel) == math.inf


def test_layouts_and_shapes() -> None:
    want = np.arange(24.0).reshape(2, 3, 4)
    assert check(np.asfortranarray(want), want).passed
    assert check(want[::-1, :, ::2], want[::-1, :, ::2].copy()).passed
    got = want.T.copy()
    got[1, 2, 0] = -1.0
    (worst,) = check(got, want.T).worst
    assert (worst.index, worst.got, worst.expected) == ((1, 2, 0), "-1.0", "9.0")
    scalar = check(np.float32(2.0), np.float32(3.0))
    assert (scalar.shape, scalar.size, scalar.worst[0].index) == ((), 1, ())
    for shape in ((0,), (3, 0)):
        for statistic in ("elementwise", "max", "mean", "median"):
            assert check(np.ones(shape), np.ones(shape), statistic=statistic).passed


def test_big_numbers_do_not_confuse_it() -> None:
    most = np.finfo(np.float64).max
    result = check([-most], [most], rtol=10.0)
    assert not result.passed
    assert error_of(result.worst_abs) == math.inf
    assert check([most], [most], rtol=10.0).passed
    mixed = check(np.array([2**63], "uint64"), np.array([2**63 - 1], "int64"))
    assert (mixed.passed, error_of(mixed.worst_abs)) == (False, 1.0)


@pytest.mark.parametrize(
    "want", [np.ones(2, complex), np.array(["a", "b"]), np.array([None, None]),
             np.zeros(2, [("a", "f4")])],
)  # fmt: skip
def test_what_is_no_real_number_is_told(want: Any) -> None:
    for pair in ((np.ones(2), want), (want, np.ones(2))):
        with pytest.raises(ModelError, match="only real numbers and bools can be compared"):
            check(*pair)


def test_the_facts_survive_json() -> None:
    result = check(np.array([[1.0, np.nan]], F32), np.array([[2.0, 1.0]], F32))
    assert from_json_values(json.loads(json.dumps(to_json_values(result))), OutputError) == result
    assert [one.got for one in result.worst] == ["nan", "1.0"]


@pytest.mark.parametrize(
    ("statistic", "an_element"), [("elementwise", 0), ("mean", 0), ("quantile:0.5", 8)]
)
def test_a_large_output_takes_little_memory(statistic: str, an_element: int) -> None:
    want = np.random.default_rng(0).standard_normal(8_000_000).astype(F32)
    got = want * F32(1.01)
    tracemalloc.start()
    try:
        assert not check(got, want, rtol=1e-3, statistic=statistic).passed
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 6e6 + an_element * want.size
