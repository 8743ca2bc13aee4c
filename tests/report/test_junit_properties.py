"""JUnit properties: one set for a test, or one a case."""

from __future__ import annotations

import math
from dataclasses import replace

from pytest_tvmtune.core.results.case_result import CaseResult
from pytest_tvmtune.report.junit_properties import junit_properties
from tests.support.sample_report import sample_case


def test_a_regression() -> None:
    case = sample_case(1)
    assert case.kernels is not None
    roof_share = case.kernels.roof_share
    assert roof_share
    properties = dict(junit_properties([case]))
    assert case.latency is not None
    assert case.latency.interval is not None
    assert properties == {
        "tvmtune.verdict": "REGRESSION",
        "tvmtune.target": "llvm",
        "tvmtune.prepack": "yes",
        "tvmtune.tuned_tasks": "6",
        "tvmtune.tasks": "6",
        "tvmtune.artifact": case.artifact,
        "tvmtune.library_bytes": str(case.library_bytes),
        "tvmtune.workspace_bytes": "4096",
        "tvmtune.kernel_calls": "31",
        "tvmtune.library_compile_s": "1.25",
        "tvmtune.max_abs_error": "7e-07",
        "tvmtune.median_s": f"{case.latency.median_s:.6g}",
        "tvmtune.baseline_median_s": f"{case.latency.baseline_median_s:.6g}",
        "tvmtune.slowdown_ratio": f"{case.latency.slowdown_ratio:.6g}",
        "tvmtune.interval_low": f"{case.latency.interval[0]:.6g}",
        "tvmtune.interval_high": f"{case.latency.interval[1]:.6g}",
        "tvmtune.confidence": "0.98",
        "tvmtune.limit_ratio": "1.03",
        "tvmtune.roof_share": f"{roof_share:.6g}",
    }


def test_zero_is_known_and_the_same_code_is_as_fast() -> None:
    case = replace(sample_case(4), workspace_bytes=0, kernel_calls=0, tasks=[])
    assert case.latency is not None
    assert case.latency.same_code
    properties = dict(junit_properties([case]))
    for name, value in (
        ("workspace_bytes", "0"), ("kernel_calls", "0"), ("tasks", "0"), ("tuned_tasks", "0"),
        ("slowdown_ratio", "1"),
    ):  # fmt: skip
        assert properties[f"tvmtune.{name}"] == value


def test_several_cases_in_a_test_are_told_apart() -> None:
    names = [name for name, _ in junit_properties([sample_case(0), sample_case(1)])]
    assert names[0] == "tvmtune.mlp.verdict"
    assert "tvmtune.cnn.verdict" in names
    assert len(set(names)) == len(names)


def test_what_is_unknown_is_left_out() -> None:
    case = CaseResult(
        name="a", nodeid="t.py::a", entry="main", target_name="llvm", target="{}", prepack=False
    )
    assert dict(junit_properties([case])) == {
        "tvmtune.verdict": "not timed",
        "tvmtune.target": "llvm",
        "tvmtune.prepack": "no",
    }
    error = replace(sample_case(0).errors[0], max_abs_error=math.nan, max_rel_error=math.inf)
    case.errors.append(error)
    names = dict(junit_properties([case]))
    assert {"tvmtune.max_abs_error", "tvmtune.max_rel_error"}.isdisjoint(names)
