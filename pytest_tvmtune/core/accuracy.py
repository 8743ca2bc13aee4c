"""Numeric comparison of outputs, by dtype, over nested structure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from pytest_tvmtune.core.errors import ModelError
from pytest_tvmtune.core.results import ErrorResult
from pytest_tvmtune.core.signature import Array, as_numpy

# (rtol, atol). Fused and reassociated float32 sums over a few thousand terms stay well within;
# integers and bools are exact.
TOLERANCES: Mapping[str, tuple[float, float]] = {
    "float64": (1e-9, 1e-11),
    "float32": (1e-4, 1e-5),
    "float16": (1e-2, 1e-3),
    "bfloat16": (2e-2, 2e-2),
}
Nested = Any  # an array, or a tuple/list of Nested


def flatten(value: Nested, path: str = "output") -> Iterator[tuple[str, Array]]:
    """Yield (path, array) for each leaf: `output`, `output[1]`, `output[1][0]`."""
    if isinstance(value, (tuple, list)):
        for index, item in enumerate(value):
            yield from flatten(item, f"{path}[{index}]")
    else:
        yield path, as_numpy(value)


def compare(
    actual: Nested,
    expected: Nested,
    *,
    against: str,
    rtol: float | None = None,
    atol: float | None = None,
) -> ErrorResult:
    """Compare nested outputs elementwise: |actual - expected| <= atol + rtol * |expected|.

    expected: the same structure as `actual`; a list stands for a tuple, and a plain sequence of
    numbers for an array. Integers and bools must be equal unless a tolerance is given. Equal
    infinities, and NaN at the same place, agree.
    Raises ModelError when structure, or the shape of an output, differs.
    """
    left = list(flatten(actual))
    right = _expected_leaves(actual, expected)
    worst_abs = worst_rel = 0.0
    problems: list[str] = []
    for (path, got), want in zip(left, right, strict=True):
        abs_error, rel_error, problem = _compare_arrays(path, got, want, rtol, atol)
        worst_abs, worst_rel = max(worst_abs, abs_error), max(worst_rel, rel_error)
        problems += [problem] if problem else []
    return ErrorResult(
        against=against,
        passed=not problems,
        max_abs_error=worst_abs,
        max_rel_error=worst_rel,
        message="; ".join(problems),
    )


def _expected_leaves(actual: Nested, expected: Nested) -> list[Array]:
    if isinstance(actual, (tuple, list)):
        if not isinstance(expected, (tuple, list)) or len(expected) != len(actual):
            raise ModelError(
                f"the model returns a tuple of {len(actual)}, expected is "
                + (f"one of {len(expected)}" if isinstance(expected, Sequence) else "one array")
            )
        pairs = zip(actual, expected, strict=True)
        return [leaf for a, e in pairs for leaf in _expected_leaves(a, e)]
    return [_plain_array(expected) if isinstance(expected, (tuple, list)) else as_numpy(expected)]


def _plain_array(numbers: Sequence[Any]) -> Array:
    try:
        array = np.asarray(numbers)
    except ValueError:
        array = np.asarray(None)
    if array.dtype.kind not in "biufc":
        raise ModelError(
            f"expected is a {type(numbers).__name__} of {len(numbers)}, the model returns one array"
        )
    return array


def _compare_arrays(
    path: str, got: Array, want: Array, rtol: float | None, atol: float | None
) -> tuple[float, float, str]:
    if got.shape != want.shape:
        raise ModelError(f"{path} has shape {got.shape}, expected has {want.shape}")
    if got.size == 0:
        return 0.0, 0.0, ""
    default_rtol, default_atol = TOLERANCES.get(got.dtype.name, (0.0, 0.0))
    rtol = default_rtol if rtol is None else rtol
    atol = default_atol if atol is None else atol
    wide_got, wide_want = _widen(got), _widen(want)
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        same = (wide_got == wide_want) | (np.isnan(wide_got) & np.isnan(wide_want))
        difference = np.where(same, 0.0, np.abs(wide_got - wide_want))
        difference = np.where(np.isnan(difference), np.inf, difference)
        bound = atol + rtol * np.abs(wide_want)
        wrong = ~same & ~(difference <= np.where(np.isfinite(bound), bound, 0.0))
        relative = np.where(same, 0.0, difference / np.abs(wide_want))
        relative = np.where(np.isnan(relative), np.inf, relative)
    max_abs = float(difference.max())
    max_rel = float(relative.max())
    count = int(wrong.sum())
    if not count:
        return max_abs, max_rel, ""
    worst = int(np.argmax(np.where(wrong, difference, -1.0)))
    index = tuple(int(i) for i in np.unravel_index(worst, got.shape))
    message = (
        f"{path} {got.dtype}{list(got.shape)}: {count} of {got.size} values differ "
        f"({count / got.size:.1%}), max abs error {max_abs:.3g}, max rel error {max_rel:.3g}, "
        f"at {list(index)}: got {got[index]!s}, expected {want[index]!s} "
        f"(rtol={rtol:g}, atol={atol:g})"
    )
    for what, test in (("NaN", np.isnan), ("Inf", np.isinf)):
        new = int((test(wide_got) & ~test(wide_want)).sum())
        if new:
            message += f"; {new} {what} where none was expected"
    return max_abs, max_rel, message


def _widen(array: Array) -> Array:
    # int64 beyond 2**53 would compare equal as float64; longdouble holds all 64 bits on x86.
    return np.asarray(array, dtype=np.longdouble if array.dtype.itemsize == 8 else np.float64)
