"""Comparing what kernels compute: how far off outputs may be, and what the arguments are."""

from __future__ import annotations

import math

import numpy as np

from pytest_tvmtune.core.arrays import compare_arrays
from pytest_tvmtune.core.divergence import ArgumentStats
from pytest_tvmtune.core.signature import Array
from pytest_tvmtune.core.tolerances import Tolerance


def kernel_tolerance(want: Array, tolerance: Tolerance) -> Tolerance:
    """Return what a kernel's output `want` has to keep.

    Elements far below the others come from cancellation, where sums taken in another order may
    differ by any factor: the absolute tolerance is at least rtol times the root mean square.
    """
    rtol, atol, _ = tolerance.settled(want.dtype.name)
    with np.errstate(all="ignore"):
        flat = np.asarray(want, np.float32 if want.dtype.itemsize < 4 else want.dtype).ravel()
        mean_square = float(np.vdot(flat, flat)) / max(1, want.size)
    scale = math.sqrt(mean_square) if 0 <= mean_square < math.inf else 0.0
    return Tolerance(rtol=rtol, atol=max(atol, rtol * scale))


def statistics_of(index: int, got: Array, want: Array | None) -> ArgumentStats:
    """Return what a report says of an argument. want: the other build's, where it is comparable."""
    plain = np.asarray(got, np.float64).ravel()
    finite = plain[np.isfinite(plain)]
    error = None
    if want is not None and want.shape == got.shape:
        worst = compare_arrays(f"argument {index}", got, want).worst_abs
        error = worst.error if worst else 0.0
    return ArgumentStats(
        index=index,
        dtype=got.dtype.name,
        shape=tuple(got.shape),
        minimum=float(finite.min()) if finite.size else math.nan,
        maximum=float(finite.max()) if finite.size else math.nan,
        mean=float(finite.mean()) if finite.size else math.nan,
        nan=int(np.isnan(plain).sum()),
        inf=int(np.isinf(plain).sum()),
        max_abs_error=error,
    )
