"""Reports as files. Each format is made from the JSON report."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from pytest_tvmtune.core.errors import OptionError, StoreError
from pytest_tvmtune.store.atomic_files import write_text

ReportObject = Mapping[str, Any]
# GitHub's limit for the whole summary of a step. Beyond it, GitHub shows nothing of it.
_MOST_SUMMARY_BYTES = 1 << 20


def check_report_path(flag: str, path: Path) -> None:
    """Raise OptionError for a report that can't be written, before anything is measured.

    Args:
        flag: The option that names the report.
        path: Its path, absolute.
    """
    if path.is_dir():
        raise OptionError(f"{flag}: {path} is a folder; give the path of a file")
    parent = next(folder for folder in path.parents if folder.exists())
    if not parent.is_dir() or not os.access(parent, os.W_OK):
        raise OptionError(f"{flag}: {parent} can't be written to; give another path")


def write_reports(report: ReportObject, paths: Mapping[str, Path]) -> list[str]:
    """Write a report in each format that has a path.

    Args:
        report: The JSON report.
        paths: By the names of their options: `json`, `html`, and the others in `REPORTS`.

    Returns:
        A message for each report that can't be written. The other reports are written.
    """
    problems = []
    for name, path in paths.items():
        try:
            write_text(path, _RENDERERS[name](report, path))
        except StoreError as error:
            problems.append(f"--tvm-{name}: {error}")
    return problems


def append_step_summary(report: ReportObject, path: Path) -> None:
    """Add the Markdown report to a GitHub Actions summary, up to the limit.

    Raises:
        StoreError: The file can't be written.
    """
    from pytest_tvmtune.report.markdown_report import markdown_report

    try:
        written = path.stat().st_size if path.exists() else 0
        text = markdown_report(report, most_bytes=_MOST_SUMMARY_BYTES - written - 1)
        with path.open("a", encoding="utf-8", errors="surrogateescape") as file:
            file.write(f"\n{text}" if text else "")
    except OSError as error:
        raise StoreError(f"can't write {path}: {error.strerror or error}") from error


def _json(report: ReportObject, _path: Path) -> str:
    """Return sorted JSON with a line for each key of a case, so all samples are in a line."""
    cases = (
        _lines((f"{json.dumps(key)}: {_one_line(case[key])}" for key in sorted(case)), "{}", "  ")
        for case in report["cases"]
    )
    values = {key: _one_line(value) for key, value in report.items() if key != "cases"}
    values["cases"] = _lines(cases, "[]", " ")
    return _lines((f"{json.dumps(key)}: {values[key]}" for key in sorted(values)), "{}", "") + "\n"


def _one_line(value: Any) -> str:
    # json.dumps is several times slower with indent.
    return json.dumps(value, sort_keys=True)


def _lines(items: Iterable[str], brackets: str, indent: str) -> str:
    inside = ",".join(f"\n{indent} {item}" for item in items)
    return f"{brackets[0]}{inside}\n{indent}{brackets[1]}" if inside else brackets


def _html(report: ReportObject, path: Path) -> str:
    from pytest_tvmtune.report.html_report import html_report

    return html_report(report, links_from=path.parent)


def _markdown(report: ReportObject, _path: Path) -> str:
    from pytest_tvmtune.report.markdown_report import markdown_report

    return markdown_report(report)


def _bmf(report: ReportObject, _path: Path) -> str:
    from pytest_tvmtune.report.exports.bencher_metrics import bencher_metrics

    return bencher_metrics(report)


def _openmetrics(report: ReportObject, _path: Path) -> str:
    from pytest_tvmtune.report.exports.openmetrics import openmetrics

    return openmetrics(report)


def _badge(report: ReportObject, _path: Path) -> str:
    from pytest_tvmtune.report.exports.badge import badge

    return badge(report)


def _issues(report: ReportObject, _path: Path) -> str:
    from pytest_tvmtune.report.exports.issue_list import issue_list

    return issue_list(report)


_RENDERERS: Mapping[str, Callable[[ReportObject, Path], str]] = {
    "json": _json,
    "html": _html,
    "markdown": _markdown,
    "bmf": _bmf,
    "openmetrics": _openmetrics,
    "badge": _badge,
    "issues": _issues,
}
