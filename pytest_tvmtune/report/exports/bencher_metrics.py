"""Bencher Metric Format: the JSON that Bencher's adapter `json` reads.

https://bencher.dev/docs/reference/bencher-metric-format
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from hashlib import sha256
from typing import Any

from pytest_tvmtune.core.results.case_label import case_id
from pytest_tvmtune.core.results.case_result import CaseResult
from pytest_tvmtune.report.case_verdicts import worst_of_each
from pytest_tvmtune.report.exports.case_metrics import METRICS, Value
from pytest_tvmtune.report.json_report import cases_of

# Bencher refuses the whole report for a longer name.
_MOST_NAME_BYTES = 1024


def bencher_metrics(report: Mapping[str, Any]) -> str:
    """Return a JSON report (docs/reference/json.md) in Bencher Metric Format.

    A benchmark is a case, by the id of its test, with its worst result. Values that aren't known
    are left out, and so are cases without any.

    Raises:
        ReportError: The object isn't a report, or a later version wrote it.
    """
    benchmarks: dict[str, dict[str, dict[str, float]]] = {}
    for result in worst_of_each(cases_of(report), _case_id):
        metrics = {
            one.slug: _metric(value, one.factor)
            for one in METRICS
            if one.slug and (value := one.value(result)) is not None
        }
        if metrics:
            benchmarks[_fitting(_case_id(result))] = metrics
    return json.dumps(benchmarks, indent=1, allow_nan=False) + "\n"


def _metric(value: Value, factor: float) -> dict[str, float]:
    metric = {"value": value.value * factor}
    if value.bounds is not None:
        low, high = value.bounds
        metric |= {"lower_value": low * factor, "upper_value": high * factor}
    return metric


def _case_id(result: CaseResult) -> str:
    return case_id(result.nodeid, result.name)


def _fitting(name: str) -> str:
    """Return a name within Bencher's limit; a longer name ends with a part of its SHA-256."""
    encoded = name.encode()
    if len(encoded) <= _MOST_NAME_BYTES:
        return name
    end = f"...{sha256(encoded).hexdigest()[:12]}"
    return encoded[: _MOST_NAME_BYTES - len(end)].decode(errors="ignore") + end
