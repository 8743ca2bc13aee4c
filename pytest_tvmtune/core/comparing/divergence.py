"""Where two builds of one model begin to compute different numbers: plain values for reports."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

from pytest_tvmtune.core.comparing.output_error import OutputError
from pytest_tvmtune.core.json_values import known_fields

# kernel: its outputs are wrong though its arguments aren't. transform: a parameter that
# `<entry>_transform_params` made is wrong. none: every kernel agrees within the tolerance.
DivergenceKind = Literal["kernel", "transform", "none"]


@dataclass(frozen=True, kw_only=True)
class ArgumentStats:
    """An argument of the kernel, just before it ran. minimum, maximum, mean: of finite values.

    max_abs_error: from the other build's; agrees: whether within the tolerance; None where the two
    have other layouts.
    """

    index: int
    dtype: str
    shape: tuple[int, ...]
    minimum: float
    maximum: float
    mean: float
    nan: int = 0
    inf: int = 0
    max_abs_error: float | None = None
    agrees: bool | None = None

    @staticmethod
    def from_json(loaded: dict[str, Any]) -> ArgumentStats:
        """Return the statistics that `asdict` made plain."""
        values = known_fields(ArgumentStats, loaded)
        return ArgumentStats(**{**values, "shape": tuple(loaded["shape"])})


@dataclass(frozen=True, kw_only=True)
class Divergence:
    """The first kernel that computes something else than its counterpart in another build.

    against: which build that is; other: the counterpart's name. call: which call of how many
    `calls` of the entry, from 0; compared: how many of those have a counterpart. output: how its
    first wrong output differs. record: digest of its tuning record, "" for an untuned kernel;
    trace: the schedule, as Python. cause: of a wrong transform, what is wrong with it. reproducer:
    the folder with all that shows it; no_reproducer: why there is none. For `none` the kernel is
    the one whose outputs differ most, relative to what they are allowed to.
    """

    kind: DivergenceKind
    against: str
    kernel: str = ""
    other: str = ""
    call: int = 0
    calls: int = 0
    compared: int = 0
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

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return asdict(self)

    @staticmethod
    def from_json(loaded: dict[str, Any]) -> Divergence:
        """Return the divergence written by `to_json`."""
        output = loaded["output"]
        return Divergence(
            **{
                **known_fields(Divergence, loaded),
                "output": None if output is None else OutputError.from_json(output),
                "arguments": tuple(ArgumentStats.from_json(one) for one in loaded["arguments"]),
            }
        )

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
