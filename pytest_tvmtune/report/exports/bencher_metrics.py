"""Bencher Metric Format: the JSON that Bencher's adapter `json` reads.

https://bencher.dev/docs/reference/bencher-metric-format
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from hashlib import sha256
from typing import Any

from pytest_tvmtune.core.results.case_label import case_id
from pytest_tvmtune.report.exports.case_quantities import QUANTITIES, Value
from pytest_tvmtune.report.json_report import cases_of

# The slug of Bencher's measure, and its unit as a factor. Bencher has the first three itself, with
# nanoseconds, bytes, and seconds. It creates the others when it first reads them.
_MEASURES: Mapping[str, tuple[str, float]] = {
    "latency": ("latency", 1e9),
    "library": ("file-size", 1.0),
    "compile": ("build-time", 1.0),
    "slowdown": ("slowdown-ratio", 1.0),
    "drift": ("drift-ratio", 1.0),
    "workspace": ("workspace-bytes", 1.0),
    "peak_memory": ("peak-memory-bytes", 1.0),
    "kernel_calls": ("kernel-calls", 1.0),
    "tuning": ("tuning-seconds", 1.0),
}
# Bencher refuses the whole report for a longer name.
_MOST_NAME_BYTES = 1024


def bencher_metrics(report: Mapping[str, Any]) -> str:
    """Return a JSON report (docs/reference/json.md) in Bencher Metric Format.

    A benchmark is a case, by the id of its test. Values that aren't known are left out, and so are
    cases without any.

    Raises:
        ReportError: The object isn't a report, or a later version wrote it.
    """
    benchmarks: dict[str, dict[str, dict[str, float]]] = {}
    for result in cases_of(report):
        metrics = {}
        for quantity in QUANTITIES:
            if quantity.name in _MEASURES and (value := quantity.value(result)) is not None:
                slug, factor = _MEASURES[quantity.name]
                metrics[slug] = _metric(value, factor)
        if metrics:
            benchmarks[_fitting(case_id(result.nodeid, result.name))] = metrics
    return json.dumps(benchmarks, indent=1, allow_nan=False) + "\n"


def _metric(value: Value, factor: float) -> dict[str, float]:
    metric = {"value": value.value * factor}
    if value.bounds is not None:
        low, high = value.bounds
        metric |= {"lower_value": low * factor, "upper_value": high * factor}
    return metric


def _fitting(name: str) -> str:
    """Return a name within Bencher's limit; a longer name ends with a part of its SHA-256."""
    encoded = name.encode()
    if len(encoded) <= _MOST_NAME_BYTES:
        return name
    end = f"...{sha256(encoded).hexdigest()[:12]}"
    return encoded[: _MOST_NAME_BYTES - len(end)].decode(errors="ignore") + end
