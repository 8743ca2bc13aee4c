"""Numeric comparison of two arrays: the errors, where they are, and whether they are tolerated."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from pytest_tvmtune.core.comparing.output_error import ElementError, OutputError
from pytest_tvmtune.core.comparing.tolerances import ELEMENTWISE, Tolerance, quantile_of_statistic
from pytest_tvmtune.core.errors import ModelError
from pytest_tvmtune.core.tensors.dtypes import FLOATS, is_real
from pytest_tvmtune.core.tensors.signature import Array

# Looked at piece by piece, in the CPU's cache: a large array needs no temporaries of its size.
_PIECE = 1 << 15
_SHOWN = 3
# What is larger, as masks of attention are, says nothing of how large a sum's terms are.
_LARGEST = 1e18
_BY_DTYPE = Tolerance()


@dataclass(frozen=True, kw_only=True)
class _Worst:
    """An element by its flat index. rank: what it is chosen by, the largest wins."""

    rank: float
    at: int
    error: float


@dataclass(frozen=True, kw_only=True)
class _Piece:
    """What differs in a piece of the arrays; see OutputError."""

    mismatches: int
    all_finite: bool
    unexpected_nan: int
    unexpected_inf: int
    missing_nan: int
    missing_inf: int
    by_abs: list[_Worst]
    by_rel: list[_Worst]
    by_ulp: list[_Worst]
    by_excess: list[_Worst]


def compare_arrays(
    path: str, got: Array, want: Array, tolerance: Tolerance = _BY_DTYPE
) -> OutputError:
    """Compare an array with its expectation. Only values count: dtypes may differ.

    path: the name of the array in the result. tolerance: `got`'s dtype decides open values.
    Equal infinities, and NaN at the same place, agree. Any other NaN or Inf fails, regardless of
    the tolerance. Takes a few MB in addition to the arrays. A quantile is computed only if there
    are mismatches, and takes 8 bytes for each element.
    Raises ModelError if the shapes differ, or if a dtype is neither a real number nor bool.
    """
    if got.shape != want.shape:
        raise ModelError(f"{path} has shape {got.shape}, but the expected shape is {want.shape}")
    for array, whose in ((got, path), (want, f"the expected value of {path}")):
        if not is_real(array.dtype):
            raise ModelError(
                f"{whose} has dtype {array.dtype}, but only real numbers and bools can be compared"
            )
    rtol, atol, statistic = tolerance.resolved(got.dtype.name)
    bits = FLOATS.get(got.dtype.name)
    pieces = [
        found
        for start, g, w in _pieces(got, want)
        if (found := _look(start, g, w, rtol=rtol, atol=atol, bits=bits))
    ]
    mismatches = sum(piece.mismatches for piece in pieces)
    error = limit = None
    # What passes elementwise passes every statistic.
    if mismatches and statistic != ELEMENTWISE and all(piece.all_finite for piece in pieces):
        error = _statistic(statistic, (np.abs(g - w) for g, w in _finite(got, want)), got.size)
        limit = atol + rtol * _statistic(
            statistic, (np.abs(w) for _, w in _finite(got, want)), got.size
        )

    def elements(found: Iterable[_Worst], most: int) -> tuple[ElementError, ...]:
        ranked = sorted(found, key=lambda one: -one.rank)[:most]
        return tuple(_element(got, want, one) for one in ranked)

    def worst(found: Iterable[_Worst]) -> ElementError | None:
        return next(iter(elements(found, 1)), None)

    return OutputError(
        path=path,
        dtype=got.dtype.name,
        shape=tuple(got.shape),
        size=got.size,
        passed=not mismatches if error is None or limit is None else error <= limit,
        rtol=rtol,
        atol=atol,
        statistic=statistic,
        error=error,
        limit=limit,
        mismatches=mismatches,
        unexpected_nan=sum(piece.unexpected_nan for piece in pieces),
        unexpected_inf=sum(piece.unexpected_inf for piece in pieces),
        missing_nan=sum(piece.missing_nan for piece in pieces),
        missing_inf=sum(piece.missing_inf for piece in pieces),
        worst_abs=worst(one for piece in pieces for one in piece.by_abs),
        worst_rel=worst(one for piece in pieces for one in piece.by_rel),
        worst_ulp=worst(one for piece in pieces for one in piece.by_ulp),
        worst=elements((one for piece in pieces for one in piece.by_excess), _SHOWN),
        expected_rms=root_mean_square(want) if mismatches else None,
    )


def _pieces(got: Array, want: Array) -> Iterator[tuple[int, Array, Array]]:
    """Yield (flat index of the first element, got, want), in a type wide enough for both."""
    # int64 beyond 2**53 would compare equal as float64; longdouble holds all 64 bits on x86.
    needs_more = any(a.dtype.kind in "iu" and a.dtype.itemsize == 8 for a in (got, want))
    wide = np.longdouble if needs_more else np.float64
    flat_got, flat_want = got.reshape(-1), want.reshape(-1)
    for start in range(0, flat_got.size, _PIECE):
        stop = start + _PIECE
        yield start, flat_got[start:stop].astype(wide), flat_want[start:stop].astype(wide)


def _finite(got: Array, want: Array) -> Iterator[tuple[Array, Array]]:
    """Yield the pieces without NaN and Inf, which are the same on both sides."""
    for _, g, w in _pieces(got, want):
        finite = np.isfinite(w)
        yield g[finite], w[finite]


def _look(
    start: int,
    got: Array,
    want: Array,
    *,
    rtol: float,
    atol: float,
    bits: tuple[int, int] | None,
) -> _Piece | None:
    """Return what differs between two pieces, None when nothing does."""
    differs = (got != want) & ~(np.isnan(got) & np.isnan(want))
    at = np.flatnonzero(differs)
    if not at.size:
        return None
    got, want = got[at], want[at]
    finite = np.isfinite(got) & np.isfinite(want)
    with np.errstate(all="ignore"):
        error = np.where(finite, np.abs(got - want), np.inf)
        size = np.abs(want)
        excess = np.where(finite, error - (atol + rtol * size), np.inf)
        # NaN: both the error and the bound are beyond what a double holds.
        excess[np.isnan(excess)] = np.inf
        relative = np.where(finite, error / size, np.inf)
        # It says nothing of an expected 0: the smallest error is infinite there.
        relative[finite & (size == 0)] = 0.0
    got_nan, want_nan = np.isnan(got), np.isnan(want)
    got_inf, want_inf = np.isinf(got), np.isinf(want)
    return _Piece(
        mismatches=int(np.count_nonzero(excess > 0)),
        all_finite=bool(finite.all()),
        unexpected_nan=int(np.count_nonzero(got_nan & ~want_nan)),
        unexpected_inf=int(np.count_nonzero(got_inf & ~want_inf)),
        missing_nan=int(np.count_nonzero(want_nan & ~got_nan)),
        missing_inf=int(np.count_nonzero(want_inf & ~got_inf)),
        by_abs=_largest(error, error, start + at, 1),
        by_rel=_largest(relative, relative, start + at, 1),
        by_ulp=[] if bits is None else _largest_ulp(error, size, start + at, bits),
        by_excess=_largest(excess, error, start + at, _SHOWN),
    )


def _largest(rank: Array, error: Array, at: Array, most: int) -> list[_Worst]:
    """Return the elements of the largest positive ranks, of equal ranks the first."""
    found: list[_Worst] = []
    rank = rank.copy()
    for _ in range(min(most, rank.size)):
        index = int(np.argmax(rank))
        if not rank[index] > 0:
            break
        found.append(_Worst(rank=float(rank[index]), at=int(at[index]), error=float(error[index])))
        rank[index] = 0.0
    return found


def _largest_ulp(error: Array, size: Array, at: Array, bits: tuple[int, int]) -> list[_Worst]:
    """Return the element with the largest error in units in the last place of the expected value.

    Source: the distance to the next value of larger magnitude, as `numpy.spacing` has it.
    """
    mantissa, smallest_exponent = bits
    with np.errstate(all="ignore"):
        # A unit is 2**-mantissa to half of that, relative to the value: only errors that are
        # relatively within a factor of two of the largest can be the largest in units.
        relative = error / np.maximum(size, np.ldexp(1.0, smallest_exponent))
        relative[np.isinf(error)] = np.inf
        near = relative >= relative.max() / 2
        _, exponent = np.frexp(np.maximum(size[near], np.ldexp(1.0, smallest_exponent)))
        unit = np.ldexp(1.0, exponent - 1 - mantissa)
        ulp = np.where(np.isinf(error[near]), np.inf, error[near] / unit)
    return _largest(ulp, ulp, at[near], 1)


def _statistic(statistic: str, pieces: Iterator[Array], size: int) -> float:
    """Return a statistic of all pieces, 0.0 where they are empty. size: at least theirs."""
    if statistic == "max":
        return max((float(piece.max()) for piece in pieces if piece.size), default=0.0)
    which = quantile_of_statistic(statistic)
    if which is None:
        sums = [(float(piece.sum()), piece.size) for piece in pieces]
        return sum(one for one, _ in sums) / max(1, sum(count for _, count in sums))
    values = np.empty(size)
    stop = 0
    for piece in pieces:
        values[stop : stop + piece.size] = piece
        stop += piece.size
    if not stop:
        return 0.0
    return float(np.quantile(values[:stop], which, overwrite_input=True))


def root_mean_square(array: Array) -> float:
    """Return that of the elements up to `_LARGEST`, without NaN; 0.0 where there are none."""
    values = as_computable(array)
    with np.errstate(all="ignore"):
        square_sum = float(np.vdot(values, values))
        if not square_sum < _LARGEST**2:
            values = values[np.abs(values) < _LARGEST].astype(np.float64)
            square_sum = float(np.vdot(values, values))
    return math.sqrt(square_sum / max(1, values.size))


def as_computable(array: Array) -> Array:
    """Return the elements in a type that numpy computes with, without a copy where they are."""
    if array.dtype.itemsize < 4:
        return np.asarray(array, np.float32).reshape(-1)
    return np.asarray(array, np.float64 if array.dtype.kind in "iu" else array.dtype).reshape(-1)


def _element(got: Array, want: Array, found: _Worst) -> ElementError:
    index = tuple(int(i) for i in np.unravel_index(found.at, got.shape))
    return ElementError(
        index=index, got=str(got[index]), expected=str(want[index]), error=found.error
    )
