"""Reports as files: each format rendered from the one JSON object, when it was asked for."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from pytest_tvmtune.core.errors import StoreError
from pytest_tvmtune.store.atomic import write_text

Report = Mapping[str, Any]


def write_reports(report: Report, paths: Mapping[str, Path]) -> list[str]:
    """Write a report in each format that has a path; return what kept one from being written.

    paths: by the names of their options, `json`, `html`, `markdown`. One that fails keeps no other
    from being written.
    """
    problems = []
    for name, path in paths.items():
        try:
            write_text(path, _RENDERERS[name](report, path))
        except StoreError as error:
            problems.append(f"--tvm-{name}: {error}")
    return problems


def _json(report: Report, _path: Path) -> str:
    return json.dumps(report, indent=1, sort_keys=True) + "\n"


def _html(report: Report, path: Path) -> str:
    from pytest_tvmtune.report.html import html_report

    return html_report(report, links_from=path.parent)


_RENDERERS: Mapping[str, Callable[[Report, Path], str]] = {
    "json": _json,
    "html": _html,
}
