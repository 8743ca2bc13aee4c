"""The HTML report: a self-contained page, made only from the JSON report."""

from __future__ import annotations

import base64
import hashlib
import json
import math
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

import jinja2
from markupsafe import Markup

from pytest_tvmtune.core.errors import counted
from pytest_tvmtune.core.kernels.kernel_table import KernelTable
from pytest_tvmtune.core.results.case_label import short_params
from pytest_tvmtune.core.results.case_result import CaseResult
from pytest_tvmtune.core.results.task_result import TaskResult
from pytest_tvmtune.report import case_plots, case_verdicts
from pytest_tvmtune.report.comparison_lines import prepack_cell
from pytest_tvmtune.report.json_report import read_report
from pytest_tvmtune.report.quantity_words import quantities_of
from pytest_tvmtune.report.roofline_plot import roofline_plot
from pytest_tvmtune.report.roofline_words import peak_cells, peak_words, reached_words
from pytest_tvmtune.report.run_counts import detail_lines, missing_words, next_lines, work_words
from pytest_tvmtune.report.text_tables import format_bytes, format_percent, format_seconds

NOTHING = "-"
# So a page of a thousand cases stays small and readable. The JSON report has the rest.
_MOST_ROWS = 25
_MOST_OPEN = 3


def html_report(report: Mapping[str, Any], *, links_from: Path | None = None) -> str:
    """Return the page of a JSON report (docs/reference/json.md), also if it comes from a file.

    Args:
        report: The report, as `json.load` returns it.
        links_from: The folder of the page. Links to logs and reproducers are relative to it, so
            you can move them together. None: the links are absolute.

    Raises:
        ReportError: The object isn't a report, or a later version wrote it.
    """
    read = read_report(report)
    results = case_verdicts.worst_first(read.cases)
    environment = page_environment()
    counts = Counter(case_verdicts.verdict_of(result) for result in results)
    style, script = (_asset(environment, name) for name in ("style.css", "script.js"))
    scale = case_plots.mark_scale(results)
    return environment.get_template("report.html.j2").render(
        created_at=report["created_at"],
        machine=report["machine"],
        cases=[_view(result, place) for place, result in enumerate(results)],
        failed=sum(case_verdicts.has_failed(result) for result in results),
        missing=missing_words(read),
        counts=[
            (n, counts[n]) for n in dict.fromkeys((*case_verdicts.VERDICTS, *counts)) if counts[n]
        ],
        notes=[
            *(f"Failed without a case: {nodeid}" for nodeid in read.failed_tests),
            work_words(results),
            *detail_lines(results),
            *next_lines(results),
        ],
        mark=lambda result: case_plots.interval_mark(result.latency, scale),
        link=lambda path: _link(path, links_from),
        style=style,
        script=script,
        style_hash=source_hash(style),
        script_hash=source_hash(script),
        plots=case_plots,
        roofline_plot=roofline_plot,
    )


def page_environment() -> jinja2.Environment:
    """Return the templates of pages, with their filters."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("pytest_tvmtune.report"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "seconds": lambda value: _or_nothing(value, format_seconds),
        "counted": counted,
        "short_params": short_params,
        "bytes": lambda value: _or_nothing(value, format_bytes),
        "general": lambda value: _or_nothing(value, lambda number: f"{number:.3g}"),
        "exact": lambda value: _or_nothing(value, lambda number: f"{number:.3f}"),
        "percent": lambda value: _or_nothing(value, format_percent),
        "plain": lambda value: value if isinstance(value, str) else json.dumps(value),
    }
    return environment


def _or_nothing(value: float | None, write: Any) -> str:
    return NOTHING if value is None or math.isnan(value) else write(value)


def style_sheet(environment: jinja2.Environment) -> Markup:
    """Return the style of all pages."""
    return _asset(environment, "style.css")


def _asset(environment: jinja2.Environment, name: str) -> Markup:
    assert environment.loader is not None
    return Markup(environment.loader.get_source(environment, name)[0])  # noqa: S704  our own file


def source_hash(content: str) -> str:
    """Return the source of a Content-Security-Policy that allows only this style or script."""
    digest = base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()
    return f"'sha256-{digest}'"


def _link(path: str, links_from: Path | None) -> str:
    if not Path(path).is_absolute():
        return quote(os.fsencode(path))
    if links_from is None:
        return Path(path).as_uri()
    return quote(os.fsencode(os.path.relpath(path, links_from)))


def _view(result: CaseResult, place: int) -> dict[str, Any]:
    """Return the values that the templates need for a case, in addition to its result."""
    label = result.label
    digest = hashlib.sha256(os.fsencode(f"{result.nodeid} {label}")).hexdigest()[:10]
    kind = case_verdicts.kind_of(result)
    tasks = sorted(result.tasks, key=_by_need)
    return {
        "id": f"case-{digest}",
        "result": result,
        "label": label,
        "kind": kind,
        "verdict": case_verdicts.verdict_of(result),
        "words": case_verdicts.verdict_words(result),
        "place": place,
        "open": kind == "fail" and place < _MOST_OPEN,
        "tasks": tasks[:_MOST_ROWS],
        "more_tasks": max(0, len(tasks) - _MOST_ROWS),
        "quantities": quantities_of(result),
        "prepack": prepack_cell(result),
        "kernels": None if result.kernels is None else _kernels(result.kernels),
    }


def _by_need(task: TaskResult) -> tuple[bool, float, str]:
    """Sort tasks that aren't settled first, then by time, the longest first."""
    return task.is_settled, -task.weight * (task.best_s or 0.0), task.name


def _kernels(table: KernelTable) -> dict[str, Any]:
    rows = table.rows[:_MOST_ROWS]
    longest_s = max([max(row.now_s, row.baseline_s or 0.0) for row in rows], default=0.0) or 1.0
    return {
        "table": table,
        "compared": table.baseline_end_to_end_s is not None,
        "rows": [
            (row, _bars(row.now_s, row.baseline_s, longest_s), peak_cells(row)) for row in rows
        ],
        "peak": "" if table.peak is None else _sentence(peak_words(table.peak)),
        "reached": reached_words(table),
        "more": len(table.rows) - len(rows),
    }


def _sentence(words: str) -> str:
    return words[:1].upper() + words[1:]


def _bars(now_s: float, baseline_s: float | None, longest_s: float) -> Sequence[tuple[str, float]]:
    """Return the bars of a kernel: side, and length from 0 to 100."""
    sides = [("now", now_s)] + ([] if baseline_s is None else [("before", baseline_s)])
    return [(side, round(100 * max(value, 0.0) / longest_s, 1)) for side, value in sides]
