"""The Markdown report: a table in the style of asv, for pull requests and job summaries."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from pytest_tvmtune.core.errors import counted
from pytest_tvmtune.core.kernels.kernel_table import KernelTable
from pytest_tvmtune.core.results.case_result import CaseResult
from pytest_tvmtune.core.results.latency_result import LatencyResult
from pytest_tvmtune.report.case_verdicts import has_failed, kind_of, verdict_words, worst_first
from pytest_tvmtune.report.comparison_lines import asked_lines
from pytest_tvmtune.report.json_report import cases_of
from pytest_tvmtune.report.quantities import quantities_of, quantity_words
from pytest_tvmtune.report.roofline_words import (
    PEAK_HEADINGS,
    peak_cells,
    peak_words,
    reached_words,
)
from pytest_tvmtune.report.run_counts import count_line, detail_lines, next_lines
from pytest_tvmtune.report.terminal_summary import ratio_cell
from pytest_tvmtune.report.text_tables import format_percent, format_seconds

_HEAD = (
    "| Change | Before | After | Ratio (CI) | Case |",
    "|:-------|-------:|------:|:-----------|:-----|",
)
# The marks of asv.
_MARKS = {"REGRESSION": "+", "IMPROVEMENT": "-"}
_MOST_FINDING = 4000
_MOST_KERNELS = 5


def markdown_report(report: Mapping[str, Any], *, most_bytes: int | None = None) -> str:
    """Return a JSON report (docs/reference/json.md) as GitHub's Markdown.

    Cases that passed unchanged are folded.

    Args:
        report: The report, as `json.load` returns it.
        most_bytes: The limit in bytes of UTF-8. Cases that don't fit are only counted.

    Raises:
        ReportError: The object isn't a report, or a later version wrote it.
    """
    results = worst_first(cases_of(report))
    failed = [result for result in results if has_failed(result)]
    quiet = [result for result in results if kind_of(result) == "pass"]
    loud = [result for result in results if kind_of(result) != "pass"]
    blocks = [_heading(results, len(failed))]
    if loud:
        blocks.append("\n".join((*_HEAD, *map(_row, loud))))
    blocks += [
        _details(f"<code>{escape(one.label)}</code>", _finding(one))
        for one in failed
        if one.findings
    ]
    if quiet:
        rows = "\n".join((*_HEAD, *map(_row, quiet)))
        blocks.append(_details(f"{counted(len(quiet), 'case')} passed", rows))
    blocks += [
        _details(f"Kernels of <code>{escape(one.label)}</code>", _kernels(one.kernels))
        for one in results
        if one.kernels is not None and one.kernels.peak is not None
    ]
    blocks += [*_quantities(results), _machine(report["machine"])]
    if most_bytes is None or _size(blocks) <= most_bytes:
        return "\n\n".join(blocks) + "\n"
    return _fitting(blocks, loud, most_bytes)


def _fitting(blocks: Sequence[str], loud: Sequence[CaseResult], most_bytes: int) -> str:
    """Leave out whole blocks from the end, then rows of the first table, until the rest fits."""
    note = "_The report is too long for this place. --tvm-json and --tvm-html write all of it._"
    kept = list(blocks)
    while len(kept) > 1 and _size([*kept, note]) > most_bytes:
        kept.pop()
    if len(kept) == 1 and loud:
        rows: list[str] = []
        left = most_bytes - _size([*kept, *_HEAD, note])
        for row in map(_row, loud):
            left -= len(row.encode()) + 1
            if left < 0:
                break
            rows.append(row)
        if rows:
            kept.append("\n".join((*_HEAD, *rows)))
    return "\n\n".join([*kept, note]) + "\n" if _size([*kept, note]) <= most_bytes else ""


def _size(blocks: Sequence[str]) -> int:
    return len("\n\n".join(blocks).encode()) + 1


def _heading(results: Sequence[CaseResult], failed: int) -> str:
    words = f"{failed} failed of {counted(len(results), 'case')}"
    facts = [*detail_lines(results), *asked_lines(results), *next_lines(results)]
    lines = [count_line(results), *facts]
    return "\n".join([f"### tvmtune: {words}", "", *_lines(lines)])


def _lines(lines: Sequence[str]) -> list[str]:
    """Return lines that stay separate: two spaces at the end are a line break."""
    return [f"{_text(line)}  " for line in lines]


def _row(result: CaseResult) -> str:
    latency = result.latency
    words = verdict_words(result)
    mark = _MARKS.get(latency.verdict, "") if latency else ""
    change = f"**{words}**" if kind_of(result) == "fail" else words
    cells = (
        f"`{mark}` {change}" if mark else change,
        _seconds(latency.baseline_median_s if latency else None),
        _seconds(latency.median_s if latency else None),
        _ratio(latency),
        _code(result.label),
    )
    return f"| {' | '.join(cells)} |"


def _seconds(value: float | None) -> str:
    return "" if value is None else format_seconds(value)


def _ratio(latency: LatencyResult | None) -> str:
    words = ratio_cell(latency, unknown="")
    if latency is None or latency.slowdown_ratio is None or latency.interval is None:
        return words
    low, high = latency.interval
    return f"{words} ({low:.3f} to {high:.3f})"


def _code(text: str) -> str:
    """Return text as code that nothing in the text can end, also in a table."""
    words = " ".join(text.split()).replace("|", "\\|") or " "
    fence = "`" * (1 + max(map(len, re.findall("`+", words)), default=0))
    pad = " " if "`" in words else ""
    return f"{fence}{pad}{words}{pad}{fence}"


def _text(text: str) -> str:
    """Return text without Markdown, HTML, and mentions."""
    escaped = re.sub(r"([\\`*_{}\[\]<>#|~&])", r"\\\1", " ".join(text.split()))
    # A backslash doesn't prevent a mention on GitHub.
    return escaped.replace("@", "@<!-- -->")


def _finding(result: CaseResult) -> str:
    """Return the findings of a test, as a block of code that nothing in them can end."""
    words = "\n".join(result.findings)
    if len(words) > _MOST_FINDING:
        words = words[:_MOST_FINDING] + "\n... (the JSON report has all of it)"
    fence = "`" * max(3, 1 + max(map(len, re.findall("`+", words)), default=0))
    return f"{fence}text\n{words}\n{fence}"


def _quantities(results: Sequence[CaseResult]) -> list[str]:
    """Return what each case takes, in a line each; folded. Empty without a library."""
    lines = [
        f"- {_code(one.label)}: {', '.join(map(quantity_words, quantities_of(one)))}"
        for one in results
        if one.artifact
    ]
    summary = "Sizes, numbers of kernels, and times to compile"
    return [_details(summary, "\n".join(lines))] if lines else []


def _kernels(table: KernelTable) -> str:
    """Return the slowest kernels, and their shares of the machine's peak."""
    slowest = sorted(table.rows, key=lambda row: -row.now_s)[:_MOST_KERNELS]
    head = ("Kernel", "Time", "Share", *PEAK_HEADINGS)
    rows = [
        (_code(row.name), format_seconds(row.now_s), format_percent(row.share), *peak_cells(row))
        for row in slowest
    ]
    lines = [f"| {' | '.join(cells)} |" for cells in (head, ("---",) * len(head), *rows)]
    words = [peak_words(table.peak)] if table.peak else []
    return "\n".join([*lines, "", *_lines([*words, reached_words(table)])])


def _details(summary: str, inside: str) -> str:
    return f"<details><summary>{summary}</summary>\n\n{inside}\n\n</details>"


def _machine(machine: Mapping[str, Any]) -> str:
    words = ", ".join(f"{key} {value}" for key, value in sorted(machine.items()))
    return f"Measured on {_code(words)}."
