"""Reports in others' formats: read by their own tools, complete, and without made-up numbers."""

from __future__ import annotations

import json
import math
import shutil
import subprocess
from collections import Counter
from dataclasses import replace
from statistics import median
from typing import Any

import jsonschema
import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families
from prometheus_client.parser import text_string_to_metric_families as older_format

from pytest_tvmtune.core.json_codec import to_json_values
from pytest_tvmtune.core.results.case_label import case_id
from pytest_tvmtune.core.results.case_result import CaseResult
from pytest_tvmtune.core.results.latency_result import LatencyResult
from pytest_tvmtune.report.exports.badge import badge
from pytest_tvmtune.report.exports.bencher_metrics import bencher_metrics
from pytest_tvmtune.report.exports.issue_list import issue_list
from pytest_tvmtune.report.exports.openmetrics import openmetrics
from pytest_tvmtune.report.json_report import make_report
from tests.support.sample_nights import RUNS, night
from tests.support.sample_report import HOSTILE, MACHINE, sample_case, sample_report

# Bencher's own, https://bencher.dev/bmf.json.
BMF_SCHEMA = {
    "type": "object",
    "patternProperties": {
        ".+": {
            "type": "object",
            "patternProperties": {
                ".+": {
                    "type": "object",
                    "properties": {
                        "value": {"type": "number"},
                        "lower_value": {"type": "number"},
                        "upper_value": {"type": "number"},
                    },
                    "required": ["value"],
                }
            },
        }
    },
}
NOTHING = CaseResult(
    name="mlp", nodeid="t.py::test_mlp[llvm]", entry="main", target_name="llvm", target="{}",
    prepack=False, outcome="failed",
)  # fmt: skip


def report_of(*cases: CaseResult) -> dict[str, Any]:
    return make_report(to_json_values(cases), MACHINE)


def read(text: str) -> dict[str, dict[tuple[tuple[str, str], ...], float]]:
    """Return the samples by metric and labels, as prometheus_client reads them."""
    assert text.endswith("\n# EOF\n")
    found = {}
    for family in text_string_to_metric_families(text):
        assert family.type == "gauge"
        assert family.documentation.endswith(".")
        rows = {tuple(sorted(one.labels.items())): one.value for one in family.samples}
        assert len(rows) == len(family.samples)
        assert all(one.timestamp is None for one in family.samples)
        found[family.name] = rows
    # The format of node_exporter and the Pushgateway says the same.
    older = {
        family.name: {tuple(sorted(one.labels.items())): one.value for one in family.samples}
        for family in older_format(text)
    }
    assert older == found
    return found


def labels(test: str, case: str, **more: str) -> tuple[tuple[str, str], ...]:
    given = {"test": test, "case": case, "target": "llvm", "prepack": "no", **more}
    return tuple(sorted(given.items()))


def test_openmetrics_has_each_number_of_the_report() -> None:
    cases = [sample_case(number) for number in range(9)]
    found = read(openmetrics(sample_report()))
    by_test = {one.nodeid: one for one in cases}
    latencies = found["tvmtune_latency_seconds"]
    assert {dict(key)["test"]: value for key, value in latencies.items()} == {
        test: one.latency.median_s for test, one in by_test.items() if one.latency is not None
    }
    key = labels("tests/test_models.py::test_cnn[llvm]", "cnn", prepack="yes")
    cnn = cases[1].latency
    assert cnn is not None
    assert cnn.interval is not None
    assert found["tvmtune_slowdown_ratio"][key] == cnn.slowdown_ratio
    assert found["tvmtune_slowdown_lower_ratio"][key] == cnn.interval[0]
    assert found["tvmtune_slowdown_upper_ratio"][key] == cnn.interval[1]
    assert found["tvmtune_slowdown_limit_ratio"][key] == 1.03
    assert found["tvmtune_failed"][key] == 1
    assert found["tvmtune_verdict"][tuple(sorted([*key, ("verdict", "REGRESSION")]))] == 1
    # The same code: no ratio was measured, and the speed is the same.
    same = labels("tests/test_models.py::test_ocr_cls[llvm]", "ocr_cls")
    assert found["tvmtune_slowdown_ratio"][same] == 1
    assert {dict(key)["case"] for key in found["tvmtune_trial_seconds"]} == {"mlp", "bert_tiny"}
    (run,) = found["tvmtune_run_info"]
    assert dict(run)["tvm"] == MACHINE["tvm"]


def test_openmetrics_of_unknown_values_and_of_no_cases() -> None:
    found = read(openmetrics(report_of(NOTHING)))
    assert set(found) == {
        "tvmtune_run_timestamp_seconds", "tvmtune_run_info", "tvmtune_failed", "tvmtune_verdict",
    }  # fmt: skip
    assert set(read(openmetrics(report_of()))) == {
        "tvmtune_run_timestamp_seconds",
        "tvmtune_run_info",
    }
    odd = LatencyResult(
        verdict="PASS", message="", median_s=math.inf, slowdown_ratio=math.nan, samples_s=(1.0,),
        interval=(1.0, math.inf),
    )  # fmt: skip
    found = read(openmetrics(report_of(replace(NOTHING, latency=odd))))
    assert not [name for name in found if "latency" in name or "slowdown" in name]


def test_openmetrics_names_series_in_the_same_way_in_each_run() -> None:
    runs = [read(openmetrics(night(name))) for name in RUNS]
    for one in runs[1:]:
        assert one.keys() == runs[0].keys()
        for name in one.keys() - {"tvmtune_verdict"}:
            assert one[name].keys() == runs[0][name].keys()


def test_openmetrics_escapes_and_has_each_series_once() -> None:
    name = 'a"b\\c\nd'
    test = f"t.py::test_x[{HOSTILE}]"
    case = replace(NOTHING, name=name, nodeid=f"{test}@group", device="a board [k]")
    text = openmetrics(report_of(case, replace(case, outcome="passed")))
    key = labels(test, name, device="a board [k]")
    # The worst result of the same case.
    assert read(text)["tvmtune_failed"] == {key: 1.0}


@pytest.mark.skipif(not shutil.which("promtool"), reason="needs promtool (Debian: prometheus)")
def test_promtool_has_no_complaint() -> None:
    def complaints(text: str) -> str:
        command = ["promtool", "check", "metrics"]
        done = subprocess.run(command, input=text, capture_output=True, text=True, check=False)
        return done.stdout + done.stderr

    text = openmetrics(sample_report())
    assert complaints(text) == ""
    assert "abbreviated" in complaints(text.replace("_seconds", "_ms"))


def test_bmf_has_nanoseconds_with_quartiles() -> None:
    case = sample_case(1)
    assert case.latency is not None
    assert case.latency.interval is not None
    benchmarks = json.loads(bencher_metrics(report_of(case)))
    (metrics,) = benchmarks.values()
    assert list(benchmarks) == [case.nodeid]
    samples = case.latency.samples_s
    latency = metrics["latency"]
    assert latency["value"] == pytest.approx(1e9 * median(samples), rel=1e-9)
    below = sum(1e9 * one <= latency["lower_value"] for one in samples)
    assert below == pytest.approx(len(samples) / 4, abs=1)
    above = sum(1e9 * one >= latency["upper_value"] for one in samples)
    assert above == pytest.approx(len(samples) / 4, abs=1)
    low, high = case.latency.interval
    ratio = {"value": case.latency.slowdown_ratio, "lower_value": low, "upper_value": high}
    assert metrics["slowdown-ratio"] == ratio
    assert metrics["file-size"] == {"value": case.library_bytes}


def test_bmf_fits_the_schema_and_the_limits_of_bencher() -> None:
    long = replace(sample_case(0), nodeid=f"t.py::test_x[{'ä' * 900}-1]")
    other = replace(long, nodeid=long.nodeid.replace("-1]", "-2]"))
    for report in (sample_report(), report_of(), report_of(NOTHING), report_of(long, other)):
        benchmarks = json.loads(bencher_metrics(report))
        jsonschema.validate(benchmarks, BMF_SCHEMA)
        for name, metrics in benchmarks.items():
            assert 0 < len(name.encode()) <= 1024
            assert metrics
            assert all(0 < len(measure) <= 64 for measure in metrics)
    assert json.loads(bencher_metrics(report_of(NOTHING))) == {}
    assert len(json.loads(bencher_metrics(report_of(long, other)))) == 2


@pytest.mark.parametrize("order", [1, -1])
def test_the_worst_result_of_a_case_that_ran_twice_counts(order: int) -> None:
    slow, fast = sample_case(1), replace(sample_case(1, ratio=1.0), outcome="passed")
    assert slow.latency is not None
    report = report_of(*(slow, fast)[::order])
    (metrics,) = json.loads(bencher_metrics(report)).values()
    assert metrics["slowdown-ratio"]["value"] == slow.latency.slowdown_ratio
    found = read(openmetrics(report))
    assert [*found["tvmtune_failed"].values()] == [1.0]
    assert [*found["tvmtune_slowdown_ratio"].values()] == [slow.latency.slowdown_ratio]
    assert [one["state"] for one in json.loads(issue_list(report))] == ["open"]
    # Nothing of a run that passed replaces a result that isn't known.
    failed = replace(NOTHING, nodeid=fast.nodeid, name=fast.name, findings=["it failed"])
    assert json.loads(bencher_metrics(report_of(*(failed, fast)[::order]))) == {}


def test_the_id_of_a_case_follows_pytest_benchmark() -> None:
    assert case_id("t.py::test_mlp[llvm]", "mlp") == "t.py::test_mlp[llvm]"
    method = "t.py::TestA::test_mlp[a::b-llvm]"
    assert case_id(f"{method}@gpu", "mlp") == method
    assert case_id("m/conv.onnx::conv[llvm]", "conv") == "m/conv.onnx::conv[llvm]"
    assert case_id("t.py::test_two[llvm]", "decoder") == "t.py::test_two[llvm]::decoder"


@pytest.mark.parametrize(
    ("numbers", "message", "color"),
    [
        ((), "no cases", "lightgrey"),
        ((0, 4), "2 cases passed", "brightgreen"),
        ((0, 2), "2 cases passed", "brightgreen"),
        ((0, 5), "1 of 2 cases new", "blue"),
        ((0, 5, 7), "1 of 3 cases undecided", "yellow"),
        (range(9), "3 of 9 cases failed", "red"),
    ],
)
def test_the_badge_shows_the_worst(numbers: tuple[int, ...], message: str, color: str) -> None:
    shown = json.loads(badge(report_of(*map(sample_case, numbers))))
    assert shown == {"schemaVersion": 1, "label": "tvmtune", "message": message, "color": color}


def test_a_run_that_lacks_tests_has_no_green_badge() -> None:
    cases = to_json_values([sample_case(0)])
    reports = [
        make_report(cases, MACHINE, failed_tests=["test_a.py", "test_b.py::test_b"]),
        make_report(cases, MACHINE, interrupted=True),
        make_report([], MACHINE, failed_tests=["test_a.py"], interrupted=True),
    ]
    shown = [json.loads(badge(report)) for report in reports]
    assert [(one["message"], one["color"]) for one in shown] == [
        ("2 tests failed without a case", "red"),
        ("run interrupted", "red"),
        ("1 test failed without a case, run interrupted", "red"),
    ]


def issues_of(*cases: CaseResult) -> list[dict[str, str]]:
    listed: list[dict[str, str]] = json.loads(issue_list(report_of(*cases)))
    return listed


def test_the_issues_are_the_cases_that_are_decided() -> None:
    listed = issues_of(*map(sample_case, range(9)))
    assert Counter(one["state"] for one in listed) == {"open": 3, "closed": 4}
    titles = [one["title"] for one in listed if one["state"] == "open"]
    assert titles == [
        "silero[llvm-prepack]: WRONG NUMBERS",
        "cnn[llvm-prepack]: REGRESSION, 1.19x slower",
        "lstm[llvm]: FAILED",
    ]
    for one in listed:
        assert one["body"].startswith(f"<!-- pytest-tvmtune: {one['key']} -->\n")
        assert one["key"].replace("-", "").isalnum()
    # New and inconclusive.
    assert not [one for one in listed if "ocr_det" in one["title"] or "bert" in one["title"]]


def test_what_is_unknown_is_no_issue() -> None:
    failed = sample_case(1)
    for case in (
        replace(failed, outcome="skipped"),
        replace(failed, outcome="xfailed"),
        replace(sample_case(0), outcome="failed"),  # not by a finding of the case
        replace(sample_case(0), latency=None),  # whether it's still slow isn't known
    ):
        assert issues_of(case) == []
    accepted = replace(failed, outcome="passed", findings=[])
    assert issues_of(accepted) == []
    assert accepted.latency is not None
    accepted.latency = replace(accepted.latency, accepted=True)
    assert [one["state"] for one in issues_of(accepted)] == ["closed"]


def test_an_issue_has_one_key_whatever_the_result() -> None:
    cnn = {
        one["key"]
        for name in RUNS
        for one in json.loads(issue_list(night(name)))
        if one["title"].startswith("cnn")
    }
    assert len(cnn) == 1
    # Repeated by xdist's `--dist=each`, once with success.
    failed, passed = sample_case(1), replace(sample_case(1, ratio=1.0), outcome="passed")
    assert [one["state"] for one in issues_of(passed, failed)] == ["open"]


def test_an_issue_fits() -> None:
    case = sample_case(1)
    huge = replace(case, name="n" * 1000, findings=["`" * 500 + "f" * 100_000])
    (issue,) = issues_of(huge)
    assert len(issue["title"]) <= 255
    assert issue["title"].endswith(": REGRESSION, 1.19x slower")
    assert len(issue["body"]) < 65_536
