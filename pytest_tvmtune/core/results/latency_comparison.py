"""The result of comparing the latency with another variant of the model."""

from __future__ import annotations

from dataclasses import dataclass

from pytest_tvmtune.core.gating.verdict import Verdict
from pytest_tvmtune.core.kernels.kernel_table import KernelTable
from pytest_tvmtune.core.results.latency_result import LatencyResult

# Variants of the same model, as a test names them.
UNTUNED, PREPACKED, PLAIN = "untuned", "prepacked", "not prepacked"
# The older baseline to which slow changes add up.
ANCHOR = "the anchor"


@dataclass(frozen=True, kw_only=True)
class LatencyComparison:
    """The latency of a case next to the latency of another variant, measured alternately.

    Attributes:
        compared_with: The other variant: `the anchor`, `untuned`, `prepacked`, `not prepacked`, the
            name and version of a runtime, the label of another case, or the path of a library.
        latency: The verdict with all that was measured. Its baseline is the other variant.
        kernels: The times of the kernels of both variants, if this case is slower and the other
            variant is a library of TVM with the same parameters; null otherwise.
        notes: The kernels that cost more, and facts about the other variant.
        asked: Whether the test asked for it, or has an anchor. A comparison that every new build
            has is measured once, and kept with the build.
    """

    compared_with: str
    latency: LatencyResult
    kernels: KernelTable | None = None
    notes: tuple[str, ...] = ()
    asked: bool = False

    @property
    def verdict(self) -> Verdict:
        """REGRESSION if this case is slower than the other variant by more than the threshold."""
        return self.latency.verdict

    @property
    def ratio(self) -> float:
        """The time of a call of this case, divided by the time of a call of the other variant."""
        return 1.0 if self.latency.slowdown_ratio is None else self.latency.slowdown_ratio

    @property
    def interval(self) -> tuple[float, float] | None:
        """The confidence interval of `ratio`; None with too few epochs, or for the same code."""
        return self.latency.interval

    @property
    def median_s(self) -> float | None:
        """The median time of a call of this case; None for the same code."""
        return self.latency.median_s

    @property
    def other_median_s(self) -> float | None:
        """The median time of a call of the other variant; None for the same code."""
        return self.latency.baseline_median_s
