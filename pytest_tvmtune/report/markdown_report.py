"""The Markdown report: a table in the style of asv, for pull requests and job summaries."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from html import escape
from typing import Any

from pytest_tvmtune.core.errors import counted
from pytest_tvmtune.core.kernels.kernel_table import KernelTable
from pytest_tvmtune.core.results.case_result import CaseResult
from pytest_tvmtune.core.results.latency_comparison import ANCHOR
from pytest_tvmtune.report.case_markdown import CASE_HEAD, case_row, folded_case
from pytest_tvmtune.report.case_verdicts import has_failed, kind_of, worst_first
from pytest_tvmtune.report.comparison_lines import asked_lines
from pytest_tvmtune.report.json_report import Report, read_report
from pytest_tvmtune.report.markdown_text import code, details, fitting, plain, size_bytes
from pytest_tvmtune.report.quantity_words import quantities_of, quantity_words
from pytest_tvmtune.report.roofline_words import (
    PEAK_HEADINGS,
    peak_cells,
    peak_words,
    reached_words,
)
from pytest_tvmtune.report.run_counts import count_line, detail_lines, missing_words, next_lines
from pytest_tvmtune.report.text_tables import format_percent, format_seconds

# GitHub takes comments and issues of at most 65,536 characters. The rest is for those who post.
MOST_COMMENT_BYTES = 65_000
_NOTE = "_The report is too long for this place. --tvm-json and --tvm-html write all of it._"
_MOST_KERNELS = 5
_MOST_FAILED_TESTS = 10


def markdown_report(report: Mapping[str, Any], *, most_bytes: int = MOST_COMMENT_BYTES) -> str:
    """Return a JSON report (docs/reference/json.md) as GitHub's Markdown.

    Cases that passed unchanged are folded.

    Args:
        report: The report, as `json.load` returns it.
        most_bytes: The limit in bytes of UTF-8. Cases that don't fit are only counted.

    Raises:
        ReportError: The object isn't a report, or a later version wrote it.
    """
    read = read_report(report)
    results = worst_first(read.cases)
    quiet = [result for result in results if kind_of(result) == "pass"]
    loud = [result for result in results if kind_of(result) != "pass"]
    # The tables have the drift.
    asked = asked_lines([_without_drift(result) for result in results])
    facts = [*detail_lines(results), *asked, *next_lines(results)]
    head = [_heading(read, results), *([_lines(facts)] if facts else [])]
    table = ["\n".join((*CASE_HEAD, *map(case_row, loud)))] if loud else []
    rest = [block for block in map(folded_case, loud) if block]
    if quiet:
        rows = "\n".join((*CASE_HEAD, *map(case_row, quiet)))
        rest.append(details(f"{counted(len(quiet), 'case')} passed", rows))
    rest += [
        details(f"Kernels of <code>{escape(one.label)}</code>", _kernels(one.kernels))
        for one in results
        if one.kernels is not None and one.kernels.peak is not None
    ]
    blocks = [*head, *table, *rest, *_quantities(results), machine_line(report["machine"])]
    if size_bytes(blocks) <= most_bytes:
        return "\n\n".join(blocks) + "\n"
    room = most_bytes - size_bytes(["", _NOTE])
    kept = fitting(blocks, room)
    if kept and len(kept) <= len(head):
        kept += _fitting_rows(loud, room - size_bytes([*kept, *CASE_HEAD]))
    return "\n\n".join([*kept, _NOTE]) + "\n" if kept else ""


def _quantities(results: Sequence[CaseResult]) -> list[str]:
    """Return what each case takes, in a line each; folded. Empty without a library."""
    lines = [
        f"- {code(one.label)}: {', '.join(map(quantity_words, quantities_of(one)))}"
        for one in results
        if one.artifact
    ]
    summary = "Sizes, numbers of kernels, and times to compile"
    return [details(summary, "\n".join(lines))] if lines else []


def _kernels(table: KernelTable) -> str:
    """Return the slowest kernels, and their shares of the machine's peak."""
    slowest = sorted(table.rows, key=lambda row: -row.now_s)[:_MOST_KERNELS]
    head = ("Kernel", "Time", "Share", *PEAK_HEADINGS)
    rows = [
        (code(row.name), format_seconds(row.now_s), format_percent(row.share), *peak_cells(row))
        for row in slowest
    ]
    lines = [f"| {' | '.join(cells)} |" for cells in (head, ("---",) * len(head), *rows)]
    words = [peak_words(table.peak)] if table.peak else []
    return "\n".join([*lines, "", _lines([*words, reached_words(table)])])


def machine_line(machine: Mapping[str, Any]) -> str:
    """Return the machine and the versions of a run."""
    words = ", ".join(f"{key} {value}" for key, value in sorted(machine.items()))
    return f"Measured on {code(words)}."


def _without_drift(result: CaseResult) -> CaseResult:
    others = [one for one in result.latency_comparisons if one.compared_with != ANCHOR]
    return replace(result, latency_comparisons=others)


def _fitting_rows(loud: Sequence[CaseResult], most_bytes: int) -> list[str]:
    """Return a table of as many cases as fit, the worst first; empty if none fits."""
    rows: list[str] = []
    for row in map(case_row, loud):
        most_bytes -= len(row.encode()) + 1
        if most_bytes < 0:
            break
        rows.append(row)
    return ["\n".join((*CASE_HEAD, *rows))] if rows else []


def _heading(report: Report, results: Sequence[CaseResult]) -> str:
    words = f"{sum(map(has_failed, results))} failed of {counted(len(results), 'case')}"
    words = ", ".join(filter(None, [words, missing_words(report)]))
    failed = ", ".join(map(code, report.failed_tests[:_MOST_FAILED_TESTS]))
    more = len(report.failed_tests) - _MOST_FAILED_TESTS
    failed += f", and {more} more" if more > 0 else ""
    lines = [
        _lines([count_line(results)]),
        *([f"Failed without a case: {failed}"] if failed else []),
    ]
    return f"### tvmtune: {words}\n\n" + "\n".join(lines)


def _lines(lines: Sequence[str]) -> str:
    """Return lines that stay separate: two spaces at the end are a line break."""
    return "\n".join(f"{plain(line)}  " for line in lines)
