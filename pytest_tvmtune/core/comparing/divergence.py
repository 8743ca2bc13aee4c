"""Where two builds of one model begin to compute different numbers: plain values for reports."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from pytest_tvmtune.core.comparing.output_error import OutputError
from pytest_tvmtune.core.json_codec import Count, NullableFloat

DivergenceKind = Literal["kernel", "transform", "none"]


@dataclass(frozen=True, kw_only=True)
class ArgumentStats:
    """An argument of the kernel, just before it ran.

    Attributes:
        index: Which argument, from 0.
        dtype: Its element type.
        shape: Its shape.
        minimum: The least of its finite values; null where there are none.
        maximum: The greatest of them.
        mean: Their mean.
        nan: How many values are NaN.
        inf: How many values are infinite.
        max_abs_error: The largest absolute difference from the other build's argument; null where
            that has another layout.
        agrees: Whether the two agree within the tolerance; null where they have other layouts.
    """

    index: Count
    dtype: str
    shape: tuple[Count, ...]
    minimum: NullableFloat
    maximum: NullableFloat
    mean: NullableFloat
    nan: Count = 0
    inf: Count = 0
    max_abs_error: float | None = None
    agrees: bool | None = None


@dataclass(frozen=True, kw_only=True)
class Divergence:
    """The first kernel that computes something else than its counterpart in another build.

    Attributes:
        kind: `kernel`: its outputs are wrong though its arguments aren't. `transform`: a parameter
            that `<entry>_transform_params` made is wrong. `none`: each kernel that could be
            compared agrees.
        against: The other build.
        kernel: The kernel; for `none` the one whose outputs differ most, relative to what they are
            allowed to.
        other: Its counterpart's name.
        call: Which call of the entry's it is, from 0.
        calls: How many kernels a call of the entry calls.
        compared: How many of those have a counterpart.
        output: How its first wrong output differs; null for `none`.
        arguments: What it was given.
        record: Digest of the tuning record applied to it, empty for an untuned kernel.
        trace: Its schedule as Python.
        cause: Of a wrong transform: which parameter, and how it is wrong.
        reproducer: The folder that reproduces it (docs/diagnosis.md).
        no_reproducer: Why there is none, as on a full disk.
    """

    kind: DivergenceKind
    against: str
    kernel: str = ""
    other: str = ""
    call: Count = 0
    calls: Count = 0
    compared: Count = 0
    output: OutputError | None = None
    arguments: tuple[ArgumentStats, ...] = ()
    record: str = ""
    trace: str = ""
    cause: str = ""
    reproducer: str = ""
    no_reproducer: str = ""

    @property
    def tuned(self) -> bool:
        """Whether a tuning record was applied to the kernel."""
        return bool(self.record)

    @property
    def input_error(self) -> float | None:
        """The largest absolute error of its arguments, where any could be compared."""
        known = [a.max_abs_error for a in self.arguments if a.max_abs_error is not None]
        return max(known, default=None)

    def sentence(self) -> str:
        """Return one line for the terminal."""
        if self.kind == "none":
            return self._nothing()
        if self.kind == "transform":
            return f"parameters wrongly transformed: {self.cause} (first seen in {self.kernel})"
        assert self.output is not None
        how = f"tuned, record {self.record[:12]}" if self.tuned else "untuned"
        return (
            f"first diverging kernel: {self.kernel} ({how}), call {self.call + 1} of {self.calls}: "
            f"{self.output.mismatches} of {self.output.size} values of its {self.output.path} "
            f"differ{_how_much(self.output)}, {self._inputs()}"
        )

    def _nothing(self) -> str:
        if not self.calls:
            return f"no kernel diverges from {self.against}: the entry calls none"
        if not self.compared:
            return f"no kernel could be compared with {self.against}: the calls of the two differ"
        each = (
            "each agrees"
            if self.compared == self.calls
            else f"{self.compared} of {self.calls} calls could be compared, and agree"
        )
        closest = f", {self.kernel} least" if self.kernel else ""
        return f"no kernel diverges from {self.against}: {each} within the tolerance{closest}"

    def _inputs(self) -> str:
        error = self.input_error
        if error is None:
            return "its inputs can't be compared"
        if not error:
            return "its inputs equal"
        if any(one.agrees is False for one in self.arguments):
            return (
                f"its inputs already by {error:.3g}: the fault may be in what comes before and "
                "has no counterpart"
            )
        return f"its inputs by {error:.3g}, within the tolerance"


def _how_much(output: OutputError) -> str:
    if counts := [f"{count} {what}" for what, count in output.not_finite.items()]:
        return f" ({', '.join(counts).replace('unexpected ', '')})"
    return f" by up to {output.worst_abs.error:.3g}" if output.worst_abs else ""
