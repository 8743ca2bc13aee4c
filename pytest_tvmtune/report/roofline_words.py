"""The peak of a machine, and a kernel's share of it, in words."""

from __future__ import annotations

from pytest_tvmtune.core.errors import counted
from pytest_tvmtune.core.kernels.kernel_table import KernelTable, KernelTime
from pytest_tvmtune.core.kernels.roofline import MachinePeak
from pytest_tvmtune.report.text_tables import format_percent

# Of a table of kernels, if it has a peak.
PEAK_HEADINGS = ("GFLOP/s", "GB/s", "of peak", "bound")
UNKNOWN = "?"
_NEARLY_ALL = 0.95


def peak_cells(row: KernelTime) -> tuple[str, ...]:
    """Return the cells of a kernel below PEAK_HEADINGS; "?" for a value that isn't known."""
    flop_per_s = 0.0 if row.flop == 0 else row.flop_per_s
    share = row.roof_share
    return (
        _billions(flop_per_s),
        _billions(row.bytes_per_s),
        UNKNOWN if share is None else format_percent(share),
        row.bound or UNKNOWN,
    )


def peak_words(peak: MachinePeak) -> str:
    """Return a machine's peak, and how it was measured."""
    rates = ", ".join(f"{one.name} {one.bytes_per_s / 1e9:.3g} GB/s" for one in peak.bandwidths)
    return (
        f"measured peak with {counted(peak.num_threads, 'thread')}: "
        f"{peak.flop_per_s / 1e9:.3g} GFLOP/s of float32 ({peak.instructions}), {rates}"
    )


def reached_words(table: KernelTable) -> str:
    """Return the share that the kernels reach together, "" where that isn't known."""
    share = table.roof_share
    if share is None:
        return ""
    reached = f"reach {format_percent(share)} of the peak"
    if table.known_share >= _NEARLY_ALL:
        return f"the kernels {reached}"
    return f"kernels with {format_percent(table.known_share)} of the time {reached}"


def _billions(rate: float | None) -> str:
    if rate is None:
        return UNKNOWN
    return f"{rate / 1e9:.3g}" if rate < 999.5e9 else f"{rate / 1e9:.0f}"
