"""The result of `tvmtune vet` in a terminal: a table of all cases, the findings, and notes."""

from __future__ import annotations

from pytest_tvmtune.core.errors import counted
from pytest_tvmtune.core.gating.ratio_text import ratio_words
from pytest_tvmtune.core.vetting.vet_report import (
    SidesComparison,
    VetReport,
    VettedCase,
    VettedEnvironment,
)
from pytest_tvmtune.report.text_tables import format_seconds, table_lines

HEADINGS = (
    "case", "schedules", "numbers", "old", "new", "new/old", "verdict", "runtime", "code", "slower"
)  # fmt: skip
NOTHING = "-"
# Of an identity, enough to see that two differ.
_DIGITS = 12
_RIGHT = ("old", "new", "new/old")


def vet_lines(report: VetReport) -> list[str]:
    """Return the lines of a report."""
    lines = [
        f"old: {environment_words(report.old)}",
        f"new: {environment_words(report.new)}",
        "",
        *table_lines(HEADINGS, [case_cells(case) for case in report.cases], right=_RIGHT),
    ]
    if report.notes:
        lines += ["", *(f"note: {note}" for note in report.notes)]
    if report.findings:
        lines += ["", *report.findings]
    return [*lines, "", summary_line(report)]


def environment_words(environment: VettedEnvironment) -> str:
    """Return an environment in a line."""
    version = environment.tvm_version or "of no known version"
    ffi = environment.ffi_version or "of no known version"
    revision = f", git {environment.tvm_revision}" if environment.tvm_revision else ""
    identity = environment.tvm_identity[:_DIGITS]
    return f"TVM {version}{revision}, ffi {ffi} ({environment.tvm}, identity {identity})"


def case_cells(case: VettedCase) -> tuple[str, ...]:
    """Return the cells of a case, in the order of HEADINGS."""
    whole = case.comparison("old and new")
    latency = whole.latency if whole else None
    return (
        case.label,
        schedules_words(case),
        numbers_words(whole),
        NOTHING if latency is None else format_seconds(latency.baseline_median_s or 0.0),
        NOTHING if latency is None else format_seconds(latency.median_s or 0.0),
        NOTHING if latency is None else f"{latency.slowdown_ratio or 1.0:.3f}",
        verdict_words(whole),
        part_words(case.comparison("runtime")),
        "same code" if whole and whole.same_code else part_words(case.comparison("generated code")),
        case.slower_part or NOTHING,
    )


def schedules_words(case: VettedCase) -> str:
    """Return the kind of schedules, and if they are replayed, the number of tuned kernels."""
    if case.schedules == "untuned":
        return case.schedules
    return f"{case.schedules}, {counted(case.tuned_kernels, 'kernel')}"


def numbers_words(made: SidesComparison | None) -> str:
    """Return how the outputs of both sides compare, in a word or a number."""
    if made is None or made.numbers is None:
        return NOTHING
    if not made.numbers.passed:
        return "DIFFER"
    error = made.numbers.max_abs_error
    return "equal" if not error else f"within {error:.2g}"


def verdict_words(made: SidesComparison | None) -> str:
    """Return the verdict of the gate, or that a side couldn't be run."""
    if made is None:
        return "FAILED"
    if made.latency is None:
        return "FAILED" if made.problem else NOTHING
    return made.latency.verdict


def part_words(made: SidesComparison | None) -> str:
    """Return how much slower a part is, with its verdict unless that is PASS."""
    if made is None:
        return NOTHING
    if made.latency is None or not made.latency.slowdown_ratio:
        return "can't be run" if made.problem else NOTHING
    words = ratio_words(made.latency.slowdown_ratio)
    return words if made.latency.verdict == "PASS" else f"{words} ({made.latency.verdict})"


def summary_line(report: VetReport) -> str:
    """Return the counts of cases and findings."""
    undecided = sum(
        one.latency is not None and one.latency.verdict == "INCONCLUSIVE"
        for case in report.cases
        for one in case.comparisons
        # For the same library, both names stand for one measurement.
        if not (one.same_code and one.sides == "runtime")
    )
    words = f"{counted(len(report.cases), 'case')}, {counted(len(report.findings), 'finding')}"
    return f"{words}, {counted(undecided, 'comparison')} undecided" if undecided else words
