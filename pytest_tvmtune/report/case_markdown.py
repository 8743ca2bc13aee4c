"""A case in Markdown: its finding, cause, kernels, and drift, and how to accept a slowdown."""

from __future__ import annotations

import math
import shlex
from collections.abc import Sequence
from html import escape

from pytest_tvmtune.core.kernels.kernel_table import KernelTime
from pytest_tvmtune.core.results.case_label import without_group
from pytest_tvmtune.core.results.case_result import CaseResult
from pytest_tvmtune.core.results.latency_comparison import ANCHOR, LatencyComparison
from pytest_tvmtune.core.results.latency_result import LatencyResult
from pytest_tvmtune.report.case_verdicts import has_failed, kind_of, verdict_words
from pytest_tvmtune.report.comparison_lines import comparison_words
from pytest_tvmtune.report.kernel_lines import slower_kernels
from pytest_tvmtune.report.markdown_text import code, code_block, details, plain
from pytest_tvmtune.report.terminal_summary import ratio_cell
from pytest_tvmtune.report.text_tables import format_seconds

CASE_HEAD = (
    "| Change | Before | After | Ratio (CI) | Drift | Case |",
    "|:-------|-------:|------:|:-----------|:------|:-----|",
)
_KERNEL_HEAD = (
    "| Kernel | Calls | Before | After | More | Code |",
    "|:-------|------:|-------:|------:|-----:|:-----|",
)
# The marks of asv.
_MARKS = {"REGRESSION": "+", "IMPROVEMENT": "-"}
_MOST_FINDING = 4000
_MOST_KERNELS = 5
# TVM names a kernel after all of its operators.
_MOST_NAME = 80


def case_row(result: CaseResult) -> str:
    """Return the row of a case below `CASE_HEAD`."""
    latency = result.latency
    words = verdict_words(result)
    mark = _MARKS.get(latency.verdict, "") if latency else ""
    change = f"**{words}**" if kind_of(result) == "fail" else words
    cells = (
        f"`{mark}` {change}" if mark else change,
        _seconds(latency.baseline_median_s if latency else None),
        _seconds(latency.median_s if latency else None),
        _ratio(latency),
        ratio_cell(result.drift.latency, unknown="") if result.drift else "",
        code(result.label),
    )
    return _row(cells)


def case_blocks(result: CaseResult) -> list[str]:
    """Return what is known of a case that isn't as before; empty if nothing is."""
    latency, drift = result.latency, result.drift
    blocks = [_finding(result.findings)] if result.findings else []
    if latency is not None and latency.cause is not None and not result.findings:
        blocks.append(f"Cause: {plain(latency.cause.message)}")
    table = result.kernels
    if table is not None and table.baseline_end_to_end_s is not None and slower_kernels(table):
        rows = map(_kernel_row, slower_kernels(table)[:_MOST_KERNELS])
        blocks.append("\n".join((*_KERNEL_HEAD, *rows)))
    if drift is not None and (blocks or drift.verdict != "PASS"):
        words = comparison_words(drift).removeprefix(f"next to {ANCHOR}: ")
        blocks.append(f"Drift since the anchor: {plain(words)}")
    return [*blocks, *_accepting(result, drift)]


def folded_case(result: CaseResult) -> str:
    """Return the blocks of a case, folded under its name; "" without any."""
    blocks = case_blocks(result)
    name = f"<code>{escape(result.label)}</code>"
    return details(name, "\n\n".join(blocks)) if blocks else ""


def _finding(findings: Sequence[str]) -> str:
    words = "\n".join(findings)
    if len(words) > _MOST_FINDING:
        words = words[:_MOST_FINDING] + "\n... (the JSON report has all of it)"
    return code_block(words)


def _kernel_row(row: KernelTime) -> str:
    name = row.name if len(row.name) <= _MOST_NAME else f"{row.name[: _MOST_NAME - 3]}..."
    changed = row.baseline_calls not in {None, row.calls}
    return _row(
        (
            code(name),
            f"{row.baseline_calls} to {row.calls}" if changed else str(row.calls),
            _seconds(row.baseline_s) if row.baseline_calls else "",
            format_seconds(row.now_s),
            f"+{format_seconds(row.cost_s)}",
            "differs" if row.code_differs else "same",
        )
    )


def _accepting(result: CaseResult, drift: LatencyComparison | None) -> list[str]:
    """Return how to accept a slowdown that failed the test; wrong numbers can't be accepted."""
    if not has_failed(result) or any(not error.passed for error in result.errors):
        return []
    latency = result.latency
    slower = latency is not None and latency.verdict == "REGRESSION"
    grown = result.failure is not None and result.failure.kind == "growth"
    drifted = drift is not None and drift.verdict == "REGRESSION"
    test = shlex.quote(without_group(result.nodeid))
    commands = [f"pytest {test} --tvm-update"] if slower or grown else []
    commands += [f"pytest {test} --tvm-update-anchor"] if drifted else []
    if not commands:
        return []
    blocks = ["If you intend the change, accept it:", code_block("\n".join(commands), "sh")]
    if latency is not None and slower and (percent := _percent_to_accept(latency)):
        blocks += [
            "If another branch keeps the baselines, accept it in the marker or the sidecar:",
            code_block(f'accept="{percent}%", until="YYYY-MM-DD", reason="..."', "python"),
        ]
    return blocks


def _percent_to_accept(latency: LatencyResult) -> int | None:
    """Return the slowdown whose acceptance lets the test pass, rounded up; None if unknown."""
    ratio, limit = latency.slowdown_ratio, latency.limit_ratio
    if ratio is None or not limit:
        return None
    high = max(ratio, latency.interval[1]) if latency.interval else ratio
    accepted = latency.acceptance
    if accepted is not None and not accepted.expired:
        limit /= 1 + accepted.ratio
    return math.ceil(100 * (high / limit - 1)) if math.isfinite(high) else None


def _ratio(latency: LatencyResult | None) -> str:
    words = ratio_cell(latency, unknown="")
    if latency is None or latency.slowdown_ratio is None or latency.interval is None:
        return words
    low, high = latency.interval
    return f"{words} ({low:.3f} to {high:.3f})"


def _seconds(value: float | None) -> str:
    return "" if value is None else format_seconds(value)


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"
