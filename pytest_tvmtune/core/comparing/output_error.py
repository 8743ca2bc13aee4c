"""The comparison of an output with its expectation: plain values for reports."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from pytest_tvmtune.core.errors import counted
from pytest_tvmtune.core.json_codec import Count, NullableFloat

# Why values couldn't be compared: another shape or type than expected, an output that the model
# doesn't return (missing), or an output that isn't expected (surplus).
OutputProblem = Literal["", "shape", "dtype", "missing", "surplus"]


@dataclass(frozen=True, kw_only=True)
class ElementError:
    """An element of an output that differs from its expected value.

    Attributes:
        index: The index of the element in the output.
        got: The value as text, in the precision of the output. It can be `nan` or `inf`.
        expected: The expected value as text.
        error: The error of the element: absolute, relative, or in ULP. The key that contains this
            object names the kind.
    """

    index: tuple[Count, ...]
    got: str
    expected: str
    error: NullableFloat


@dataclass(frozen=True, kw_only=True)
class OutputError:
    """The comparison of an output with its expectation.

    Attributes:
        path: The position of the output, such as `output[1][0]`.
        dtype: The element type.
        shape: The shape.
        size: The number of elements.
        passed: Whether the output agrees within the tolerance.
        rtol: The relative tolerance.
        atol: The absolute tolerance.
        statistic: The condition for the error: `elementwise`, or a statistic over all elements.
        error: The statistic of the absolute errors, if there are mismatches and `statistic` isn't
            `elementwise`; null if one side has NaN or Inf.
        limit: The limit for `error`.
        mismatches: The number of elements with `|got - expected| > atol + rtol * |expected|`.
        unexpected_nan: The number of NaN values whose expected value is finite or Inf.
        unexpected_inf: The number of Inf values whose expected value is finite or NaN.
        missing_nan: The number of finite or Inf values whose expected value is NaN.
        missing_inf: The number of finite or NaN values whose expected value is Inf.
        worst_abs: The element with the largest absolute error.
        worst_rel: The element with the largest relative error, of those whose expected value isn't
            0.
        worst_ulp: The element with the largest error in ULP (units in the last place of the
            expected value, in the type of the output). Only for floats.
        worst: Up to three mismatches with their absolute errors. The mismatch furthest beyond the
            tolerance comes first.
        name: The name of the output in the model's source; empty without a name.
        problem: The reason why no values were compared; empty if values were compared. `shape`,
            `dtype`: the output has another shape or type than expected. `missing`: the model
            doesn't return the output. `surplus`: the output isn't expected.
        shape_expected: The expected shape, if no values were compared.
        dtype_expected: The expected element type, if no values were compared.
        expected_rms: The root mean square of the finite expected values, if there are mismatches.
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
        """The name of the output in messages: `logits (output[1])`, or the path."""
        return f"{self.name} ({self.path})" if self.name else self.path

    @property
    def described(self) -> str:
        """The label and the type of the output, and the problem if no values were compared."""
        got = f"{self.label} {self.dtype}{list(self.shape)}"
        expected = f"{self.dtype_expected}{list(self.shape_expected or ())}"
        return {
            "": got,
            "shape": f"{got}: the expected shape is {expected}",
            "dtype": f"{got}: the expected type is {expected}",
            "missing": f"{self.label}: the model doesn't return the expected output {expected}",
            "surplus": f"{got}: the model returns this output, but it isn't expected",
        }[self.problem]

    @property
    def not_finite(self) -> dict[str, int]:
        """The number of NaN and Inf values on only one side, by their names in reports."""
        counts = {
            "unexpected NaN": self.unexpected_nan,
            "unexpected Inf": self.unexpected_inf,
            "missing NaN": self.missing_nan,
            "missing Inf": self.missing_inf,
        }
        return {what: count for what, count in counts.items() if count}


def differing_words(output: OutputError, of: str = "") -> str:
    """Return `3 of 8 values differ`. of: put after `values`."""
    verb = "differs" if output.mismatches == 1 else "differ"
    return f"{output.mismatches} of {counted(output.size, 'value')}{of} {verb}"
