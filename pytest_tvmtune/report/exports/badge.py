"""The JSON of a badge, for the endpoint of shields.io (https://shields.io/badges/endpoint-badge)."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from typing import Any

from pytest_tvmtune.core.errors import counted
from pytest_tvmtune.report.case_verdicts import VerdictClass, kind_of
from pytest_tvmtune.report.json_report import read_report
from pytest_tvmtune.report.run_counts import missing_words

# The worst kind of a run, its word, and the color of the badge.
_WORDS: Mapping[VerdictClass, tuple[str, str]] = {
    "fail": ("failed", "red"),
    "warn": ("undecided", "yellow"),
    "new": ("new", "blue"),
}


def badge(report: Mapping[str, Any]) -> str:
    """Return the badge of a JSON report (docs/reference/json.md).

    Raises:
        ReportError: The object isn't a report, or a later version wrote it.
    """
    read = read_report(report)
    kinds = Counter(map(kind_of, read.cases))
    total = kinds.total()
    message, color = f"{counted(total, 'case')} passed", "brightgreen"
    if not total:
        # No case is no success.
        message, color = "no cases", "lightgrey"
    for kind, (word, its_color) in _WORDS.items():
        if kinds[kind]:
            message, color = f"{kinds[kind]} of {counted(total, 'case')} {word}", its_color
            break
    if not kinds["fail"] and (missing := missing_words(read)):
        message, color = missing, "red"
    shown = {"schemaVersion": 1, "label": "tvmtune", "message": message, "color": color}
    return json.dumps(shown) + "\n"
