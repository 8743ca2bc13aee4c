"""How far off a kernel may be, and what its arguments are."""

from __future__ import annotations

import math
from typing import Any

import ml_dtypes
import numpy as np
import pytest

from pytest_tvmtune.core.comparing.array_comparison import compare_arrays
from pytest_tvmtune.core.comparing.kernel_outputs import kernel_tolerance, statistics_of
from pytest_tvmtune.core.comparing.tolerances import TOLERANCES, Tolerance

BY_DTYPE = Tolerance()


def atol(values: Any, dtype: Any = np.float32, tolerance: Tolerance = BY_DTYPE) -> float:
    found = kernel_tolerance(np.asarray(values, dtype), tolerance)
    assert found.statistic is None
    assert found.atol is not None
    return found.atol


def test_the_absolute_tolerance_grows_with_the_root_mean_square() -> None:
    rtol, least = TOLERANCES["float32"]
    assert atol([3e3, 4e3]) == pytest.approx(rtol * math.sqrt(12.5e6))
    assert atol([[1e3] * 3] * 4) == pytest.approx(rtol * 1e3)
    assert atol([1e-3, -1e-3]) == least
    assert atol([0.0, 0.0]) == least
    assert kernel_tolerance(np.ones(2, np.float32), BY_DTYPE).rtol == rtol


def test_what_cancels_passes_and_what_is_wrong_does_not() -> None:
    want = np.array([1000.0, -1000.0, 1e-4], np.float32)
    off = np.array([0.0, 0.0, 0.05], np.float32)
    tolerance = kernel_tolerance(want, BY_DTYPE)
    assert compare_arrays("", want + off, want, tolerance).passed
    assert not compare_arrays("", want + 10 * off, want, tolerance).passed


def test_what_the_user_says_counts() -> None:
    assert atol([10.0], tolerance=Tolerance(rtol=0.1)) == pytest.approx(1.0)
    assert atol([10.0], tolerance=Tolerance(rtol=0.1, atol=3.0)) == 3.0
    assert atol([10.0], tolerance=Tolerance(rtol=0.0, atol=0.0)) == 0.0
    assert atol([10], np.int32, Tolerance(rtol=0.0, atol=1.0)) == 1.0
    # Kernels are always compared element by element.
    assert atol([10.0], tolerance=Tolerance(statistic="mean", rtol=0.1)) == pytest.approx(1.0)


def test_an_absolute_tolerance_alone_is_made_for_the_size_of_outputs() -> None:
    rtol, _ = TOLERANCES["float32"]
    alone = Tolerance(rtol=0.0, atol=1e-3)
    assert atol([1e3, 1e3], tolerance=alone) == pytest.approx(rtol * 1e3)
    assert atol([1.0, 1.0], tolerance=alone) == 1e-3
    assert kernel_tolerance(np.ones(2, np.float32), alone).rtol == rtol


@pytest.mark.parametrize("strange", [math.nan, math.inf, -math.inf, 3e38, -3.4e38, 2e18])
def test_nan_inf_and_masks_say_nothing_of_the_scale(strange: float) -> None:
    rtol, _ = TOLERANCES["float32"]
    assert atol([3e3, 4e3, strange]) == pytest.approx(rtol * math.sqrt(12.5e6))


@pytest.mark.parametrize("values", [[], [math.nan], [1e30], [math.inf, -math.inf]])
def test_what_has_no_scale(values: list[float]) -> None:
    assert atol(values) == TOLERANCES["float32"][1]
    assert atol(values, np.float64) == TOLERANCES["float64"][1]


@pytest.mark.parametrize("dtype", [np.float16, ml_dtypes.bfloat16, ml_dtypes.float8_e4m3fn])
def test_narrow_floats_do_not_overflow(dtype: Any) -> None:
    # Their square sum is beyond what they hold themselves.
    assert atol([256.0] * 100, dtype) == pytest.approx(256 * TOLERANCES[np.dtype(dtype).name][0])


def test_integers_and_bools_are_exact_unless_a_tolerance_is_given() -> None:
    for dtype in (np.int8, np.uint8, np.int32, np.int64, np.bool_):
        assert atol([1, 0, 1], dtype) == 0.0
    # The square is beyond 32 bits.
    given = Tolerance(rtol=0.1)
    assert atol([100_000] * 3, np.int32, given) == pytest.approx(1e4)
    assert atol([200] * 3, np.uint8, given) == pytest.approx(20)
    assert atol([True], np.bool_, given) == 0.0


def test_an_array_of_no_dimension_and_one_that_is_not_contiguous() -> None:
    assert atol(np.float32(1e3)) == pytest.approx(0.1)
    assert atol(np.full((4, 6), 1e3, np.float32).T[::2]) == pytest.approx(0.1)


def test_the_statistics_of_an_argument() -> None:
    got = np.array([[1.0, 2.0], [-4.0, 3.0]], np.float32)
    found = statistics_of(2, got, None, BY_DTYPE)
    assert (found.index, found.dtype, found.shape) == (2, "float32", (2, 2))
    assert (found.minimum, found.maximum, found.mean) == (-4.0, 3.0, 0.5)
    assert (found.nan, found.inf, found.max_abs_error, found.agrees) == (0, 0, None, None)


def test_the_mean_is_taken_in_double_precision() -> None:
    assert statistics_of(0, np.full(1 << 25, 0.1, np.float16), None, BY_DTYPE).mean == (
        pytest.approx(float(np.float16(0.1)), rel=1e-9)
    )


def test_statistics_are_of_what_is_finite() -> None:
    got = np.array([np.nan, 1.0, np.inf, -np.inf, 3.0], np.float32)
    found = statistics_of(0, got, None, BY_DTYPE)
    assert (found.minimum, found.maximum, found.mean) == (1.0, 3.0, 2.0)
    assert (found.nan, found.inf) == (1, 2)


@pytest.mark.parametrize("values", [[], [math.nan], [math.inf]])
def test_nothing_finite(values: list[float]) -> None:
    found = statistics_of(0, np.array(values, np.float32), None, BY_DTYPE)
    assert all(math.isnan(v) for v in (found.minimum, found.maximum, found.mean))


@pytest.mark.parametrize("dtype", [ml_dtypes.bfloat16, np.int8, np.uint16, np.int64, np.bool_])
def test_other_types(dtype: Any) -> None:
    got = np.array([0, 1, 1], dtype)
    found = statistics_of(0, got, got, BY_DTYPE)
    assert (found.dtype, found.minimum, found.maximum) == (np.dtype(dtype).name, 0.0, 1.0)
    assert found.mean == pytest.approx(2 / 3)
    assert (found.max_abs_error, found.agrees) == (0.0, True)


def test_how_far_an_argument_is_from_the_other_builds() -> None:
    want = np.array([1.0, 2.0], np.float32)
    near = statistics_of(0, want + np.float32(2**-16), want, BY_DTYPE)
    assert (near.max_abs_error, near.agrees) == (2**-16, True)
    far = statistics_of(0, want + np.float32(0.5), want, BY_DTYPE)
    assert (far.max_abs_error, far.agrees) == (0.5, False)
    assert statistics_of(0, want + np.float32(0.5), want, Tolerance(atol=1.0)).agrees
    strange = statistics_of(0, np.array([1.0, np.nan], np.float32), want, BY_DTYPE)
    assert (strange.max_abs_error, strange.agrees) == (math.inf, False)
    other_layout = statistics_of(0, want.reshape(2, 1), want, BY_DTYPE)
    assert (other_layout.max_abs_error, other_layout.agrees) == (None, None)
