"""How one output compares with what was expected of it: plain values."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from pytest_tvmtune.core.json_codec import Count, NullableFloat

# Why values couldn't be compared: another shape or type than expected, an output that the model
# doesn't return (missing), or one that isn't expected (surplus).
OutputProblem = Literal["", "shape", "dtype", "missing", "surplus"]


@dataclass(frozen=True, kw_only=True)
class ElementError:
    """One element of an output that is off.

    Attributes:
        index: Its index in the output.
        got: Its value as text, in the output's own precision; also `nan`, `inf`.
        expected: The expected value as text.
        error: Its absolute error, or relative, or in ULP, as the field says that has it.
    """

    index: tuple[Count, ...]
    got: str
    expected: str
    error: NullableFloat


@dataclass(frozen=True, kw_only=True)
class OutputError:
    """How one output compares with what was expected of it.

    Attributes:
        path: Which output it is: `output[1][0]`.
        dtype: Its element type.
        shape: Its shape.
        size: How many elements it has.
        passed: Whether it agrees within the tolerance.
        rtol: Relative tolerance.
        atol: Absolute tolerance.
        statistic: What decides: `elementwise`, or a statistic of all elements.
        error: The statistic's error, where it isn't `elementwise` and there are mismatches; null
            where one side has NaN or Inf.
        limit: What `error` may be at most.
        mismatches: How many elements have `|got - expected| > atol + rtol * |expected|`.
        unexpected_nan: How many are NaN where the expected value is finite or Inf.
        unexpected_inf: How many are Inf where the expected value is finite or NaN.
        missing_nan: How many are finite or Inf where the expected value is NaN.
        missing_inf: How many are finite or NaN where the expected value is Inf.
        worst_abs: The element with the largest absolute error.
        worst_rel: The element with the largest relative error, where the expected value isn't 0.
        worst_ulp: The element with the largest error in ULP (units in the last place of the
            expected value, in the output's type); only of floats.
        worst: Up to three mismatches, furthest beyond the tolerance first, with absolute errors.
        name: What the model's source calls it, empty where it has no name.
        problem: Why no values were compared, empty where they were. `shape`, `dtype`: another one
            than expected. `missing`: the model doesn't return it. `surplus`: it isn't expected.
        shape_expected: The expected shape, where no values were compared.
        dtype_expected: The expected element type, where no values were compared.
        expected_rms: Root mean square of the expected values that are finite, where there are
            mismatches.
    """

    path: str
    dtype: str
    shape: tuple[Count, ...]
    size: Count
    passed: bool
    rtol: NullableFloat
    atol: NullableFloat
    statistic: str
    error: float | None = None
    limit: float | None = None
    mismatches: Count = 0
    unexpected_nan: Count = 0
    unexpected_inf: Count = 0
    missing_nan: Count = 0
    missing_inf: Count = 0
    worst_abs: ElementError | None = None
    worst_rel: ElementError | None = None
    worst_ulp: ElementError | None = None
    worst: tuple[ElementError, ...] = ()
    name: str = ""
    problem: OutputProblem = ""
    shape_expected: tuple[Count, ...] | None = None
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
