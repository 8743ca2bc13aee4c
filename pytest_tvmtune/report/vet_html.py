"""The result of `tvmtune vet` as a self-contained page."""

from __future__ import annotations

from pytest_tvmtune.core.vetting.vet_report import VetReport, VettedCase
from pytest_tvmtune.report.html_report import page_environment, source_hash, style_sheet
from pytest_tvmtune.report.kernel_lines import divergence_lines, kernel_lines
from pytest_tvmtune.report.vet_text import (
    HEADINGS,
    case_cells,
    environment_words,
    summary_line,
)


def vet_page(report: VetReport) -> str:
    """Return the page of a report."""
    environment = page_environment()
    style = style_sheet(environment)
    return environment.get_template("vet.html.j2").render(
        report=report,
        old=environment_words(report.old),
        new=environment_words(report.new),
        summary=summary_line(report),
        headings=HEADINGS,
        cases=[(case, case_cells(case), detail_lines(case)) for case in report.cases],
        style=style,
        style_hash=source_hash(style),
    )


def detail_lines(case: VettedCase) -> list[str]:
    """Return what the page shows of a case below the table: kernels, and a diverging kernel."""
    lines = [
        f"{made.sides}: {made.latency.message}" if made.latency else f"{made.sides}: {made.problem}"
        for made in case.comparisons
    ]
    if case.kernels is not None:
        lines += ["", *kernel_lines(case.kernels)]
    if case.divergence is not None:
        lines += ["", case.divergence.sentence(), *divergence_lines(case.divergence)]
    return lines
