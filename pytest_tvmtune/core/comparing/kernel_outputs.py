"""Comparing the outputs of kernels: tolerances, and statistics of the arguments."""

from __future__ import annotations

import math

import numpy as np

from pytest_tvmtune.core.comparing.array_comparison import (
    as_computable,
    compare_arrays,
    root_mean_square,
)
from pytest_tvmtune.core.comparing.divergence import ArgumentStats
from pytest_tvmtune.core.comparing.tolerances import Tolerance
from pytest_tvmtune.core.tensors.signature import Array


def kernel_tolerance(want: Array, tolerance: Tolerance) -> Tolerance:
    """Return what a kernel's output `want` has to keep.

    Elements far below the others come from cancellation, where sums taken in another order may
    differ by any factor: the absolute tolerance is at least rtol times the root mean square.
    An absolute tolerance alone is made for the size of a model's outputs; inside it values may be a
    thousand times as large, so that the dtype's own rtol holds there. 0 and 0 ask for equality.
    """
    rtol, atol, _ = tolerance.resolved(want.dtype.name)
    if atol and not rtol:
        rtol, _, _ = Tolerance().resolved(want.dtype.name)
    scale = root_mean_square(want) if rtol else 0.0
    return Tolerance(rtol=rtol, atol=max(atol, rtol * scale))


def statistics_of(
    index: int, got: Array, want: Array | None, tolerance: Tolerance
) -> ArgumentStats:
    """Return what a report says of an argument. want: the other build's, where it is comparable."""
    values = as_computable(got)
    is_finite = np.isfinite(values)
    # Weights are large: no copy of those that are sound.
    finite = values if is_finite.all() else values[is_finite]
    error = agrees = None
    if want is not None and want.shape == got.shape:
        compared = compare_arrays(f"argument {index}", got, want, kernel_tolerance(want, tolerance))
        error = compared.worst_abs.error if compared.worst_abs else 0.0
        agrees = compared.passed
    return ArgumentStats(
        index=index,
        dtype=got.dtype.name,
        shape=tuple(got.shape),
        minimum=float(finite.min()) if finite.size else math.nan,
        maximum=float(finite.max()) if finite.size else math.nan,
        mean=float(finite.mean(dtype=np.float64)) if finite.size else math.nan,
        nan=int(np.isnan(values).sum()),
        inf=int(np.isinf(values).sum()),
        max_abs_error=error,
        agrees=agrees,
    )
