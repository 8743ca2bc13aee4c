"""Comparisons with other variants, and with budgets, in the terminal and in Markdown."""

from __future__ import annotations

from collections.abc import Sequence

from pytest_tvmtune.core.gating.ratio_text import ratio_words
from pytest_tvmtune.core.results.case_result import CaseResult
from pytest_tvmtune.core.results.latency_comparison import PLAIN, LatencyComparison
from pytest_tvmtune.report.kernel_lines import slower_kernels_line
from pytest_tvmtune.report.text_tables import format_seconds


def asked_lines(results: Sequence[CaseResult]) -> list[str]:
    """Return a line for each comparison that a test asked for, and for each of its budgets."""
    lines = []
    for result in results:
        asked = [one for one in result.latency_comparisons if one.asked]
        lines += [f"{result.label} {comparison_words(one)}" for one in asked]
        lines += budget_lines(result)
    return lines


def budget_lines(result: CaseResult) -> list[str]:
    """Return a line for each latency budget of a case."""
    return [f"{result.label}: {one.verdict}: {one.message}" for one in result.latency_budgets]


def compared_lines(result: CaseResult) -> list[str]:
    """Return lines for each comparison of a case, with the kernels that cost more."""
    lines = []
    for comparison in result.latency_comparisons:
        lines.append(f"{result.label} {comparison_words(comparison)}")
        lines += [f"  {line}" for line in slower_lines(comparison)]
    return [*lines, *budget_lines(result)]


def slower_lines(comparison: LatencyComparison) -> list[str]:
    """Return the kernels that cost more, if they are known, and the notes on a comparison."""
    kernels = comparison.kernels
    more = [] if kernels is None else [slower_kernels_line(kernels)]
    return [*more, *comparison.notes]


def comparison_words(comparison: LatencyComparison) -> str:
    """Return the comparison in words, to follow the label of a case."""
    latency = comparison.latency
    words = f"next to {comparison.compared_with}: {latency.verdict}, {latency.message}"
    if comparison.median_s is None or comparison.other_median_s is None:
        return words
    return (
        f"{words} ({format_seconds(comparison.median_s)} and "
        f"{format_seconds(comparison.other_median_s)})"
    )


def prepack_cell(result: CaseResult) -> str:
    """Return whether a case is prepacked, and how much faster that is, if it's known."""
    if not result.prepack:
        return "no"
    plain = next((one for one in result.latency_comparisons if one.compared_with == PLAIN), None)
    if plain is None or plain.latency.slowdown_ratio is None:
        return "yes"
    return f"yes, {ratio_words(plain.ratio)}"
