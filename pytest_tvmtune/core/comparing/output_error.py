"""How one output compares with what was expected of it: plain values."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from pytest_tvmtune.core.json_values import known_fields

# Why values couldn't be compared: another shape or type than expected, an output that the model
# doesn't return (missing), or one that isn't expected (surplus).
OutputProblem = Literal["", "shape", "dtype", "missing", "surplus"]


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
    name: what the model's source calls it, "" where it has no name. problem: why no values were
    compared; then shape_expected and dtype_expected are what was expected of it, as far as
    anything was. expected_rms: root mean square of the finite values that are expected, where
    there are mismatches.
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
    name: str = ""
    problem: OutputProblem = ""
    shape_expected: tuple[int, ...] | None = None
    dtype_expected: str = ""
    expected_rms: float | None = None

    @property
    def label(self) -> str:
        """What messages call it: `logits (output[1])`, or its path."""
        return f"{self.name} ({self.path})" if self.name else self.path

    @property
    def described(self) -> str:
        """Its label and type; where no values were compared, what is wrong with it."""
        got = f"{self.label} {self.dtype}{list(self.shape)}"
        expected = f"{self.dtype_expected}{list(self.shape_expected or ())}"
        return {
            "": got,
            "shape": f"{got}: another shape than expected, {expected}",
            "dtype": f"{got}: another type than expected, {expected}",
            "missing": f"{self.label}: the model doesn't return it, expected is {expected}",
            "surplus": f"{got}: the model returns it, and it isn't expected",
        }[self.problem]

    @property
    def not_finite(self) -> dict[str, int]:
        """How many NaN and Inf are on one side only, by what reports call them."""
        counts = {
            "unexpected NaN": self.unexpected_nan,
            "unexpected Inf": self.unexpected_inf,
            "missing NaN": self.missing_nan,
            "missing Inf": self.missing_inf,
        }
        return {what: count for what, count in counts.items() if count}

    @staticmethod
    def from_json(loaded: dict[str, Any]) -> OutputError:
        """Return the comparison that `asdict` made plain."""
        values = {**known_fields(OutputError, loaded), "shape": tuple(loaded["shape"])}
        for key in ("worst_abs", "worst_rel", "worst_ulp"):
            values[key] = None if loaded[key] is None else _element(loaded[key])
        values["worst"] = tuple(_element(one) for one in loaded["worst"])
        if values.get("shape_expected") is not None:
            values["shape_expected"] = tuple(values["shape_expected"])
        return OutputError(**values)


def _element(loaded: dict[str, Any]) -> ElementError:
    return ElementError(**{**known_fields(ElementError, loaded), "index": tuple(loaded["index"])})
