"""The table of set-ups, at the end of the run."""

from __future__ import annotations

from typing import Any

from tests.setups.harness import TABLE_HEAD


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Print a row for each set-up that ran, in Markdown."""
    reports = [*terminalreporter.getreports("passed"), *terminalreporter.getreports("failed")]
    rows = [
        text
        for report in reports
        if report.when == "call"
        for name, text in report.user_properties
        if name == "setup"
    ]
    if rows:
        terminalreporter.section("set-ups")
        terminalreporter.write_line("\n".join([TABLE_HEAD, *rows]))
