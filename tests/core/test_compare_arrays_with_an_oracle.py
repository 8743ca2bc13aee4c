"""Comparing arrays, against numpy that does it in one piece and the plain way."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from pytest_tvmtune.core.comparing import array_comparison
from pytest_tvmtune.core.comparing.array_comparison import compare_arrays
from pytest_tvmtune.core.comparing.tolerances import Tolerance

DTYPES = st.sampled_from(["float64", "float32", "float16", "int32", "uint8", "bool"])
TOLERANCES = st.builds(
    Tolerance, rtol=st.sampled_from([0.0, 1e-3, 0.5]), atol=st.sampled_from([0.0, 1e-6, 1.0])
)


@st.composite
def pairs(draw: st.DrawFn) -> tuple[Any, Any]:
    """Return two arrays of one shape, some of whose elements are equal."""
    dtype = draw(DTYPES)
    shape = draw(arrays.array_shapes(max_dims=3, max_side=5, min_side=0))
    got = draw(arrays.arrays(dtype, shape))
    want = draw(arrays.arrays(dtype, shape))
    equal = draw(arrays.arrays("bool", shape))
    return got, np.where(equal, got, want)


@pytest.fixture(scope="module", autouse=True)
def _small_pieces() -> Any:
    """What is put together from pieces must be so here as well."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(array_comparison, "_PIECE", 7)
        yield


@given(pair=pairs(), tolerance=TOLERANCES)
def test_each_element_against_allclose(pair: tuple[Any, Any], tolerance: Tolerance) -> None:
    got, want = pair
    rtol, atol, _ = tolerance.resolved(got.dtype.name)
    with np.errstate(all="ignore"):
        g, w = got.astype("float64"), want.astype("float64")
        close = np.isclose(g, w, rtol=rtol, atol=atol, equal_nan=True)
        both_finite = np.isfinite(g) & np.isfinite(w)
        error = np.where(both_finite, np.abs(g - w), 0.0)
    found = compare_arrays("y", got, want, tolerance)
    assert found.passed == bool(close.all())
    assert found.mismatches == int(np.count_nonzero(~close))
    assert found.unexpected_nan == np.count_nonzero(np.isnan(g) & ~np.isnan(w))
    assert found.missing_nan == np.count_nonzero(np.isnan(w) & ~np.isnan(g))
    differs = ~((g == w) | (np.isnan(g) & np.isnan(w)))
    if differs.any() and both_finite[differs].all():
        assert found.worst_abs is not None
        assert found.worst_abs.error == error.max()
        assert error[found.worst_abs.index] == error.max()


@given(pair=pairs(), tolerance=TOLERANCES, statistic=st.sampled_from(["max", "mean", "median"]))
def test_what_passes_elementwise_passes_each_statistic(
    pair: tuple[Any, Any], tolerance: Tolerance, statistic: str
) -> None:
    got, want = pair
    whole = compare_arrays("y", got, want, tolerance)
    by_statistic = compare_arrays("y", got, want, replace(tolerance, statistic=statistic))
    assert by_statistic.passed or not whole.passed
    if by_statistic.error is not None:
        finite = np.isfinite(want.astype("float64"))
        error = np.abs(got.astype("float64")[finite] - want.astype("float64")[finite])
        plain = float(getattr(np, statistic)(error))
        assert by_statistic.error == pytest.approx(plain)


@given(pair=pairs())
def test_an_array_equals_itself_in_whatever_layout(pair: tuple[Any, Any]) -> None:
    got, _ = pair
    found = compare_arrays("y", got, np.asfortranarray(got), Tolerance(rtol=0.0, atol=0.0))
    assert (found.passed, found.mismatches, found.worst) == (True, 0, ())
