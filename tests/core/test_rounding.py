"""What rounding may excuse, and what it never does."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from pytest_tvmtune.core.comparing.accumulated_rounding import rounding_share
from pytest_tvmtune.core.comparing.outputs_comparison import compare

RNG = np.random.default_rng(0)
WANT = RNG.standard_normal(1000)


def share(got: Any, want: Any = WANT, *, dtypes: tuple[str, ...] = ()) -> tuple[float, str]:
    result = compare(got, want, against="it")
    assert not result.passed
    return rounding_share(result.outputs, dtypes)


@pytest.mark.parametrize(
    ("dtype", "off", "explained"),
    [("float16", 0.05, True), ("float16", 0.08, False), ("bfloat16", 0.08, True),
     ("bfloat16", 0.15, False), ("float32", 5e-6, True), ("float32", 1e-4, False)],
)  # fmt: skip
def test_errors_are_small_against_the_output(dtype: str, off: float, explained: bool) -> None:
    pytest.importorskip("ml_dtypes")
    # Of the size that absolute tolerances are not made for, and one sum that cancels out.
    got = (1e4 * WANT).astype(dtype)
    got[3] = 0
    want = got.astype("float64")
    got[3] = 1e4 * off
    found, of_type = share(got, want)
    assert (found > 0, of_type) == (explained, dtype if explained else "")


def test_the_narrowest_type_of_the_model_counts() -> None:
    got = WANT.astype("float32")
    got[3] += 0.05
    assert share(got) == (0.0, "")
    assert share(got, dtypes=("float32", "int64", "float16"))[1] == "float16"


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_nan_and_infinity_are_never_rounding(bad: float) -> None:
    near = WANT.astype("float16")
    near[3] += 0.05
    assert share(near)[0] > 0
    unexpected, missing = near.copy(), WANT.copy()
    unexpected[7] = missing[7] = bad
    assert share(unexpected) == (0.0, "")
    assert share(near, missing) == (0.0, "")


def test_integers_shapes_and_zeros_are_never_rounding() -> None:
    assert share(np.array([1, 2]), np.array([1, 3]), dtypes=("float16",)) == (0.0, "")
    assert share(np.ones(2, "float16"), np.ones(3)) == (0.0, "")
    assert share(np.ones(2, "float16"), np.zeros(2)) == (0.0, "")


def test_one_output_that_is_off_by_more_spoils_it() -> None:
    near = WANT.astype("float16")
    near[3] += 0.05
    assert share((near, near), (WANT, WANT))[0] > 0
    assert share((near, near), (WANT, -WANT)) == (0.0, "")
