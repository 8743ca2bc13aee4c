"""Five runs of the same cases, of which one is slower for four of them: what a recipe shows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from pytest_tvmtune.core.gating.ratio_text import gate_words
from pytest_tvmtune.core.json_codec import to_json_values
from pytest_tvmtune.core.results.latency_comparison import ANCHOR, LatencyComparison
from pytest_tvmtune.core.results.latency_result import LatencyResult
from pytest_tvmtune.report.json_report import make_report
from tests.support.sample_report import MACHINE, sample_case

# By name: the ratio of the case that is slower.
RUNS: Mapping[str, float] = {"new": 1.18, "worse": 1.42, "same": 1.41, "better": 1.08, "gone": 1.0}
_CNN = 1
_OTHERS = (0, 4)


def night(name: str) -> dict[str, Any]:
    """Return the report of one of `RUNS`."""
    ratio = RUNS[name]
    slow = sample_case(_CNN, ratio=ratio)
    drift = LatencyResult(
        verdict="REGRESSION" if ratio > 1.1 else "PASS",
        message=gate_words(ratio * 1.01, (ratio, ratio * 1.015), 0.99, 1.1),
        slowdown_ratio=ratio * 1.01,
        interval=(ratio, ratio * 1.015),
        limit_ratio=1.1,
    )
    anchored = [LatencyComparison(compared_with=ANCHOR, latency=drift, asked=True)]
    cases = [replace(slow, latency_comparisons=anchored), *map(sample_case, _OTHERS)]
    return make_report(to_json_values(cases), MACHINE)
