"""The HTML report: one self-contained page, made from nothing but the JSON report."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pytest_tvmtune.report.json import cases_of


def html_report(report: Mapping[str, Any], *, links_from: Path | None = None) -> str:
    """Return the page of a JSON report (docs/json.md), also of one that was read from a file.

    links_from: the folder that the page will stand in: links to logs and reproducers are relative
    to it, so that both can be moved together. None: absolute.
    Raises ReportError for what is no report, and for one of a later version.
    """
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("pytest_tvmtune.report"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    page = environment.get_template("report.html.j2")
    return page.render(cases=cases_of(report), report=report, links_from=links_from)
