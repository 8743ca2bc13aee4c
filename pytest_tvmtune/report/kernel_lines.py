"""Kernels in the terminal: those that cost more, the table of all, and a diverging kernel."""

from __future__ import annotations

import math

from pytest_tvmtune.core.comparing.divergence import ArgumentStats, Divergence
from pytest_tvmtune.core.errors import counted
from pytest_tvmtune.core.kernels.kernel_table import BUILT_INS, KernelTable, KernelTime
from pytest_tvmtune.report.roofline_words import (
    PEAK_HEADINGS,
    peak_cells,
    peak_words,
    reached_words,
)
from pytest_tvmtune.report.text_tables import format_percent, format_seconds, table_lines

_MOST_NAMED = 3
_MOST_ROWS = 20
# A share of the largest cost: smaller costs are noise.
_LEAST_SHARE = 0.05
_HEADINGS = ("kernel", "calls", "now", "share", "tuned")
_COMPARED = (*_HEADINGS, "baseline", "more", "code")
_RIGHT = frozenset({"calls", "now", "share", "baseline", "more", *PEAK_HEADINGS[:3]})


def slower_kernels_line(table: KernelTable) -> str:
    """Return one line: the kernels that cost more than in the baseline, the largest cost first."""
    more = slower_kernels(table)[:_MOST_NAMED]
    if not more:
        return "no kernel costs more: the time is lost between the kernels"
    return "costs more: " + "; ".join(_cost(row) for row in more)


def slower_kernels(table: KernelTable) -> list[KernelTime]:
    """Return the kernels that cost notably more than in the baseline, in order of the table."""
    least_s = _LEAST_SHARE * max((row.cost_s for row in table.rows), default=0.0)
    return [row for row in table.rows if row.cost_s > 0 and row.cost_s >= least_s]


def kernel_lines(table: KernelTable) -> list[str]:
    """Return the table, and the relation of its sum to a call of the entry."""
    compared = table.baseline_end_to_end_s is not None
    peak = table.peak
    headings = (_COMPARED if compared else _HEADINGS) + (PEAK_HEADINGS if peak else ())
    rows = [
        _row(row) + (_compared(row) if compared else ()) + (peak_cells(row) if peak else ())
        for row in table.rows[:_MOST_ROWS]
    ]
    left_out = len(table.rows) - len(rows)
    before = (
        f" (baseline {format_seconds(table.baseline_end_to_end_s)})"
        if table.baseline_end_to_end_s is not None
        else ""
    )
    return [
        *table_lines(headings, rows, right=_RIGHT),
        *([f"{counted(left_out, 'more kernel')} in the JSON report"] if left_out else []),
        (
            f"together {format_seconds(table.together_s)} of "
            f"{format_seconds(table.end_to_end_s)} end to end{before}, after subtracting "
            f"{format_seconds(table.overhead_s)} for each kernel, the cost of the instrument"
        ),
        *(("; ".join(filter(None, (peak_words(peak), reached_words(table)))),) if peak else ()),
    ]


def divergence_lines(found: Divergence) -> list[str]:
    """Return the arguments of a diverging kernel, its schedule, and its reproducer."""
    lines = [f"  {_argument(one)}" for one in found.arguments]
    if found.trace:
        lines += ["  schedule:", *(f"    {line}" for line in found.trace.splitlines())]
    if found.reproducer:
        lines.append(f"  reproducer: {found.reproducer}")
    return lines


def _argument(one: ArgumentStats) -> str:
    values = (
        "no finite value"
        if math.isnan(one.mean)
        else f"{one.minimum:.3g} to {one.maximum:.3g}, mean {one.mean:.3g}"
    )
    return (
        f"argument {one.index} {one.dtype}{list(one.shape)}: {values}"
        + (f", {one.nan} NaN" if one.nan else "")
        + (f", {one.inf} Inf" if one.inf else "")
        + ("" if one.max_abs_error is None else f"; max abs error {one.max_abs_error:.2g}")
    )


def _cost(row: KernelTime) -> str:
    before_s = row.baseline_s or 0.0
    what = [f"{format_seconds(before_s)} -> {format_seconds(row.now_s)}"]
    if not row.baseline_calls:
        what.append("new")
    elif row.calls != row.baseline_calls:
        what.append(f"{row.baseline_calls} -> {row.calls} calls")
    if before_s:
        what.append(f"{row.now_s / before_s:.2f}x")
    same = " (same code)" if row.code_differs is False and row.name != BUILT_INS else ""
    return f"{row.name}{same} +{format_seconds(row.cost_s)} ({', '.join(what)})"


def _row(row: KernelTime) -> tuple[str, ...]:
    changed = row.baseline_calls is not None and row.baseline_calls != row.calls
    calls = f"{row.baseline_calls} -> {row.calls}" if changed else str(row.calls)
    tuned = "yes" if row.tuned else "no"
    return (
        row.name,
        calls,
        format_seconds(row.now_s),
        format_percent(row.share),
        "-" if row.name == BUILT_INS else tuned,
    )


def _compared(row: KernelTime) -> tuple[str, ...]:
    code = "differs" if row.code_differs else "same"
    return (
        format_seconds(row.baseline_s or 0.0),
        _signed(row.cost_s),
        "-" if row.name == BUILT_INS else code,
    )


def _signed(seconds: float) -> str:
    sign = "-" if seconds < 0 else "+"
    return f"{sign}{format_seconds(abs(seconds))}"
