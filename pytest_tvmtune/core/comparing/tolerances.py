"""Tolerances of outputs: by dtype, and the statistic that must be within them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pytest_tvmtune.core.errors import ModelError

# (rtol, atol). Fused and reassociated float32 sums over a few thousand terms stay well within;
# the narrower a type, the fewer of its own steps are allowed, down to one.
TOLERANCES: Mapping[str, tuple[float, float]] = {
    "float64": (1e-9, 1e-11),
    "float32": (1e-4, 1e-5),
    "float16": (1e-2, 1e-3),
    "bfloat16": (2e-2, 2e-2),
    "float8_e3m4": (0.0625, 0.03125),
    **dict.fromkeys(
        ("float8_e4m3", "float8_e4m3fn", "float8_e4m3fnuz", "float8_e4m3b11fnuz"), (0.125, 0.0625)
    ),
    **dict.fromkeys(("float8_e5m2", "float8_e5m2fnuz"), (0.25, 0.125)),
}
ELEMENTWISE = "elementwise"
Outputs = Mapping[str, Any] | None
_STATISTICS = f"{ELEMENTWISE}, max, mean, median, quantile:Q with Q from 0 to 1"


@dataclass(frozen=True, kw_only=True)
class Tolerance:
    """The error that an output may have. None leaves a value to the next wider setting.

    Source: Polygraphy's `CompareFunc.simple(check_error_stat=...)` has the same statistics. It
    passes if the absolute or the relative error is within its tolerance. Here, both tolerances add
    up, as in `numpy.allclose`.

    Attributes:
        rtol: The relative tolerance, a finite number of at least 0.
        atol: The absolute tolerance, a finite number of at least 0.
        statistic: The condition over all elements of an output. `elementwise`:
            |actual - expected| <= atol + rtol * |expected| for each element. `max`, `mean`,
            `median`, `quantile:0.99`: S(|actual - expected|) <= atol + rtol * S(|expected|), where
            S is this statistic over the finite elements (quantiles interpolate linearly). An output
            that passes elementwise passes every statistic. NaN or Inf on only one side always
            fails.

    Raises:
        ModelError: A value isn't accepted.
    """

    rtol: float | None = None
    atol: float | None = None
    statistic: str | None = None

    def __post_init__(self) -> None:
        for name in ("rtol", "atol"):
            value = getattr(self, name)
            if value is None:
                continue
            is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
            if not is_number or not 0 <= value < math.inf:
                raise ModelError(f"{name}={value!r} is not a finite number of at least 0")
        if self.statistic is not None:
            quantile_of_statistic(self.statistic)

    def over(self, wider: Tolerance) -> Tolerance:
        """Return this tolerance, with open values taken from `wider`."""
        return Tolerance(
            rtol=wider.rtol if self.rtol is None else self.rtol,
            atol=wider.atol if self.atol is None else self.atol,
            statistic=self.statistic or wider.statistic,
        )

    def resolved(self, dtype: str) -> tuple[float, float, str]:
        """Return (rtol, atol, statistic): what is open is settled by dtype; bools are exact."""
        rtol, atol = TOLERANCES.get(dtype, (0.0, 0.0))
        if dtype != "bool":
            rtol = rtol if self.rtol is None else self.rtol
            atol = atol if self.atol is None else self.atol
        return rtol, atol, self.statistic or ELEMENTWISE


@dataclass(frozen=True, kw_only=True)
class ComparisonOptions:
    """The options of a comparison as given; the values may be invalid.

    rtol, atol, statistic: for all outputs. outputs: a Tolerance, or a dict of its fields, for some,
    by path or name.
    """

    rtol: float | None = None
    atol: float | None = None
    statistic: str | None = None
    outputs: Outputs = None

    @property
    def tolerance(self) -> Tolerance:
        """What all outputs are to keep. Raises ModelError."""
        return Tolerance(rtol=self.rtol, atol=self.atol, statistic=self.statistic)


def as_tolerance(value: Any, path: str) -> Tolerance:
    """Return a Tolerance, also from a dict of its fields. Raises ModelError, naming `path`."""
    if isinstance(value, Tolerance):
        return value
    try:
        return Tolerance(**value)
    except TypeError:
        raise ModelError(
            f"outputs[{path!r}] is {value!r}; give a Tolerance, or a dict with rtol, atol, and "
            "statistic"
        ) from None
    except ModelError as error:
        raise ModelError(f"outputs[{path!r}]: {error}") from None


def quantile_of_statistic(statistic: str) -> float | None:
    """Return which quantile a statistic is, None when it is none. Raises ModelError."""
    if statistic in {ELEMENTWISE, "max", "mean"}:
        return None
    if statistic == "median":
        return 0.5
    kind, _, text = str(statistic).partition(":")
    try:
        value = float(text) if kind == "quantile" else math.nan
    except ValueError:
        value = math.nan
    if not 0 <= value <= 1:
        raise ModelError(f"statistic={statistic!r} is not one of {_STATISTICS}")
    return value
