"""Kernels in the terminal: which cost more, the table of all, and the one that diverges."""

from __future__ import annotations

from pytest_tvmtune.core.divergence import Divergence
from pytest_tvmtune.core.kernel_times import BUILT_INS, KernelTable, KernelTime
from pytest_tvmtune.report.tables import format_seconds, table_lines

_MOST_NAMED = 3
# Of what costs most: anything less is noise beside it.
_LEAST_SHARE = 0.05
_MOST_ROWS = 20
_HEADINGS = ("kernel", "calls", "now", "baseline", "more", "share", "tuned", "code")
_RIGHT = frozenset({"calls", "now", "baseline", "more", "share"})


def slower_kernels_line(table: KernelTable) -> str:
    """Return one line: what costs more than in the baseline, the most first."""
    least_s = _LEAST_SHARE * max((row.cost_s for row in table.rows), default=0.0)
    more = [row for row in table.rows if row.cost_s > max(0.0, least_s)][:_MOST_NAMED]
    if not more:
        return "no kernel costs more: the time is lost between them"
    return "costs more: " + "; ".join(_cost(row) for row in more)


def kernel_lines(table: KernelTable) -> list[str]:
    """Return the table, and how it adds up to a call of the entry."""
    rows = [_row(row) for row in table.rows[:_MOST_ROWS]]
    left_out = len(table.rows) - len(rows)
    return [
        *table_lines(_HEADINGS, rows, right=_RIGHT),
        *([f"and {left_out} more; all are in the JSON report"] if left_out else []),
        (
            f"together {format_seconds(table.end_to_end_s - table.unexplained_s)} of "
            f"{format_seconds(table.end_to_end_s)} end to end; the instrument's "
            f"{format_seconds(table.overhead_s)} for each was taken off"
        ),
    ]


def divergence_lines(found: Divergence) -> list[str]:
    """Return what the diverging kernel was given, its schedule's length and its reproducer."""
    lines = [
        f"  argument {one.index} {one.dtype}{list(one.shape)}: "
        f"{one.minimum:.3g} to {one.maximum:.3g}, mean {one.mean:.3g}"
        + (f", {one.nan} NaN" if one.nan else "")
        + (f", {one.inf} Inf" if one.inf else "")
        + ("" if one.max_abs_error is None else f"; max abs error {one.max_abs_error:.2g}")
        for one in found.arguments
    ]
    if found.trace:
        lines += ["  its schedule:", *(f"    {line}" for line in found.trace.splitlines())]
    if found.reproducer:
        lines.append(f"  reproducer: {found.reproducer}")
    return lines


def _cost(row: KernelTime) -> str:
    before_s = row.baseline_s or 0.0
    ratio = f", {row.now_s / before_s:.2f}x" if before_s else ", new"
    same = " (same code)" if row.code_differs is False and row.name != BUILT_INS else ""
    return (
        f"{row.name}{same} +{format_seconds(row.cost_s)} "
        f"({format_seconds(before_s)} -> {format_seconds(row.now_s)}{ratio})"
    )


def _row(row: KernelTime) -> tuple[str, ...]:
    compared = row.baseline_s is not None
    code = {None: "-", True: "differs", False: "same"}[row.code_differs]
    return (
        row.name,
        str(row.calls),
        format_seconds(row.now_s),
        format_seconds(row.baseline_s) if row.baseline_s is not None else "-",
        _signed(row.cost_s) if compared else "-",
        f"{row.share:.1%}",
        "yes" if row.tuned else "no",
        "-" if row.name == BUILT_INS else code,
    )


def _signed(seconds: float) -> str:
    sign = "-" if seconds < 0 else "+"
    return f"{sign}{format_seconds(abs(seconds))}"
