"""JUnit properties of a case, for dashboards."""

from __future__ import annotations

import math
from collections.abc import Sequence

from pytest_tvmtune.core.results.case_quantities import QUANTITIES
from pytest_tvmtune.core.results.case_result import CaseResult
from pytest_tvmtune.report.case_verdicts import verdict_of


def junit_properties(results: Sequence[CaseResult]) -> list[tuple[str, str]]:
    """Return (name, value) of the cases of a test, for its `<properties>`.

    Names are `tvmtune.verdict` and so on (docs/reference/reports.md). If a test has several cases,
    they are `tvmtune.NAME.verdict`. Properties without a value are left out. Times are in seconds,
    and ratios are now / baseline.
    """
    found = []
    for result in results:
        prefix = f"tvmtune.{result.name}." if len(results) > 1 else "tvmtune."
        found += [(prefix + name, value) for name, value in _values(result).items() if value]
    return found


def _values(result: CaseResult) -> dict[str, str]:
    values = {
        "verdict": verdict_of(result),
        "target": result.target_name,
        "prepack": "yes" if result.prepack else "no",
        "tuned_tasks": _number(result.tuned_tasks if result.artifact else None),
        "tasks": _number(len(result.tasks) if result.artifact else None),
        "artifact": result.artifact,
        "tuning_s": _number(result.tuning_s if result.tuned_now else None),
        **{one.field: _number(one.now(result)) for one in QUANTITIES},
    }
    if (error := result.reference_error) is not None:
        values["max_abs_error"] = _number(error.max_abs_error)
        values["max_rel_error"] = _number(error.max_rel_error)
    if (latency := result.latency) is not None:
        low, high = latency.interval or (None, None)
        values |= {
            "median_s": _number(latency.median_s),
            "baseline_median_s": _number(latency.baseline_median_s),
            "slowdown_ratio": _number(latency.known_ratio),
            "interval_low": _number(low),
            "interval_high": _number(high),
            "confidence": _number(latency.confidence),
            "limit_ratio": _number(latency.limit_ratio),
            "accepted_slowdown": latency.acceptance.sentence if latency.acceptance else "",
        }
    if (drift := result.drift) is not None:
        values |= {
            "drift_verdict": drift.verdict,
            "drift_ratio": _number(drift.latency.known_ratio),
        }
    if result.kernels is not None:
        values["roof_share"] = _number(result.kernels.roof_share)
    return values


def _number(value: float | None) -> str:
    if value is None or not math.isfinite(value):
        return ""
    return str(value) if isinstance(value, int) else f"{value:.6g}"
