"""The place where two builds of a model begin to compute different numbers, for reports."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from pytest_tvmtune.core.comparing.output_error import OutputError, differing_words
from pytest_tvmtune.core.json_codec import Count, NullableFloat

DivergenceKind = Literal["kernel", "transform", "none"]


@dataclass(frozen=True, kw_only=True)
class ArgumentStats:
    """An argument of the kernel, directly before the call.

    Attributes:
        index: The position of the argument, from 0.
        dtype: The element type.
        shape: The shape.
        minimum: The smallest finite value; null without finite values.
        maximum: The largest finite value; null without finite values.
        mean: The mean of the finite values; null without finite values.
        nan: The number of NaN values.
        inf: The number of infinite values.
        max_abs_error: The largest absolute difference from the argument in the other build; null
            if the layouts differ.
        agrees: Whether the arguments of both builds agree within the tolerance; null if the layouts
            differ.
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
    """The first kernel whose outputs differ from those of its counterpart in another build.

    Attributes:
        kind: `kernel`: the outputs of the kernel are wrong, but its arguments aren't. `transform`:
            a parameter from `<entry>_transform_params` is wrong. `none`: all kernels that could be
            compared agree.
        against: The other build.
        kernel: The name of the kernel. For `none`, the kernel whose outputs differ most, relative
            to the tolerance.
        other: The name of the counterpart.
        call: The position of the call among the kernel calls of the entry, from 0.
        calls: The number of kernel calls in a call of the entry.
        compared: The number of these calls that have a counterpart.
        output: The differences of the first wrong output; null for `none`.
        arguments: The arguments of the kernel.
        record: The digest of the tuning record of the kernel; empty for an untuned kernel.
        trace: The schedule of the kernel as Python code.
        cause: For `transform`, the parameter and its fault.
        reproducer: The folder that reproduces the divergence (docs/explanation/diagnosis.md).
        no_reproducer: The reason why the reproducer couldn't be written, such as a full disk.
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
            return (
                f"wrong parameter after the transform: {self.cause} (first used by {self.kernel})"
            )
        assert self.output is not None
        how = f"tuned, record {self.record[:12]}" if self.tuned else "untuned"
        return (
            f"first diverging kernel: {self.kernel} ({how}), call {self.call + 1} of {self.calls}: "
            f"{differing_words(self.output, f' of its {self.output.path}')}"
            f"{_how_much(self.output)}; {self._inputs()}"
        )

    def _nothing(self) -> str:
        if not self.calls:
            return f"no kernel diverges from {self.against}: the entry calls no kernel"
        if not self.compared:
            return (
                f"no kernel could be compared with {self.against}: the kernel calls of the two "
                "builds differ"
            )
        each = (
            "all kernels agree"
            if self.compared == self.calls
            else f"{self.compared} of {self.calls} calls could be compared and agree"
        )
        closest = f" ({self.kernel} differs most)" if self.kernel else ""
        return f"no kernel diverges from {self.against}: {each} within the tolerance{closest}"

    def _inputs(self) -> str:
        error = self.input_error
        if error is None:
            return "its inputs can't be compared"
        if not error:
            return "its inputs are equal"
        if any(one.agrees is False for one in self.arguments):
            return (
                f"its inputs already differ by up to {error:.3g}, so the fault may be in an "
                "earlier "
                "kernel without a counterpart"
            )
        return f"its inputs differ by up to {error:.3g}, within the tolerance"


def _how_much(output: OutputError) -> str:
    if counts := [f"{count} {what}" for what, count in output.not_finite.items()]:
        return f" ({', '.join(counts).replace('unexpected ', '')})"
    return f" by up to {output.worst_abs.error:.3g}" if output.worst_abs else ""
