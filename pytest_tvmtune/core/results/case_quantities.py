"""The sizes, numbers, and durations of a case: one table for limits, reports, and exports."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

Unit = Literal["bytes", "seconds", ""]


@dataclass(frozen=True, kw_only=True)
class Quantity:
    """A quantity of an artifact and of its baseline. None: not known.

    field: where `Quantities` and `CaseResult` have it; the baseline's is `baseline_<field>`. what:
    its name in messages and reports. help: a sentence, for exports. limit: the setting that limits
    its growth. slug: Bencher's measure. wanted: the field of `CaseResult` that says whether it is
    found out in a run; "" for always. machine: the field of `Quantities` that says what machine it
    belongs to; "" if it's the same on each.
    """

    field: str
    what: str
    unit: Unit
    help: str
    limit: str
    slug: str
    wanted: str = ""
    machine: str = ""

    def now(self, of: Any) -> Any:
        """Return its value of a `CaseResult` or of `Quantities`."""
        return getattr(of, self.field)

    def before(self, result: Any) -> Any:
        """Return its value of the baseline in a `CaseResult`."""
        return getattr(result, f"baseline_{self.field}")


QUANTITIES = (
    Quantity(
        field="library_bytes", what="library", unit="bytes", limit="max_size_growth",
        slug="file-size", help="Size of the library.",
    ),
    Quantity(
        field="workspace_bytes", what="workspace memory", unit="bytes", limit="max_memory_growth",
        slug="workspace-bytes",
        help="Memory of a call for tensors between kernels, and for outputs.",
    ),
    Quantity(
        field="kernel_calls", what="number of kernels", unit="", limit="max_kernel_growth",
        slug="kernel-calls", help="Number of kernels in a call.",
    ),
    Quantity(
        field="peak_memory_bytes", what="peak memory", unit="bytes", limit="max_peak_memory_growth",
        slug="peak-memory-bytes", help="Resident memory of loading the library and of a call.",
        wanted="peak_memory_asked",
    ),
    Quantity(
        field="library_compile_s", what="time to compile", unit="seconds",
        limit="max_compile_time_growth", slug="build-time", machine="compiled_on",
        help="Time to compile the library, in this run or in the run that compiled it.",
    ),
    Quantity(
        field="trial_s", what="time of a tuning trial", unit="seconds",
        limit="max_tuning_time_growth", slug="trial-seconds", machine="tuned_on",
        wanted="tuned_now", help="Average time of a tuning trial in this run.",
    ),
)  # fmt: skip
