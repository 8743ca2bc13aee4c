"""How one output compares with what was expected of it: plain values."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pytest_tvmtune.core.plain import known_fields


@dataclass(frozen=True, kw_only=True)
class ElementError:
    """One element of an output that is off. got, expected: as text, in the output's own precision.

    error: absolute, relative to the expected, or in ULP, as the field says that holds it.
    """

    index: tuple[int, ...]
    got: str
    expected: str
    error: float


@dataclass(frozen=True, kw_only=True)
class OutputError:
    """How one output compares with what was expected of it.

    mismatches: elements of `size` with |got - expected| > atol + rtol * |expected|.
    statistic: what decided (see core.tolerances); error, limit: its two sides, where the
    statistic isn't `elementwise` and there are mismatches.
    unexpected_nan, unexpected_inf: NaN and Inf where the expected value is finite or the other of
    them; missing_nan, missing_inf: the same with the sides swapped.
    worst_abs, worst_rel, worst_ulp: the element with the largest error of that kind, None when
    there is none; relative only where the expected value isn't 0, ULP (units in the last place of
    the expected value, in the output's type) only for floats.
    worst: the few mismatches furthest beyond the tolerance, with absolute errors.
    """

    path: str
    dtype: str
    shape: tuple[int, ...]
    size: int
    passed: bool
    rtol: float
    atol: float
    statistic: str
    error: float | None = None
    limit: float | None = None
    mismatches: int = 0
    unexpected_nan: int = 0
    unexpected_inf: int = 0
    missing_nan: int = 0
    missing_inf: int = 0
    worst_abs: ElementError | None = None
    worst_rel: ElementError | None = None
    worst_ulp: ElementError | None = None
    worst: tuple[ElementError, ...] = ()

    @staticmethod
    def from_json(loaded: dict[str, Any]) -> OutputError:
        """Return the comparison that `asdict` made plain."""
        values = {**known_fields(OutputError, loaded), "shape": tuple(loaded["shape"])}
        for key in ("worst_abs", "worst_rel", "worst_ulp"):
            values[key] = None if loaded[key] is None else _element(loaded[key])
        values["worst"] = tuple(_element(one) for one in loaded["worst"])
        return OutputError(**values)


def _element(loaded: dict[str, Any]) -> ElementError:
    return ElementError(**{**known_fields(ElementError, loaded), "index": tuple(loaded["index"])})
