"""Tests that are run again, or expected to fail: reports count as pytest does."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.plugin.snippets import TINY, WORKER_IDS, WORKERS

# As pytest-rerunfailures does it, and as flaky does, which doesn't report failed calls.
RERUNS = """
import pytest
from _pytest.runner import runtestprotocol

def pytest_runtest_protocol(item, nextitem):
    item.ihook.pytest_runtest_logstart(nodeid=item.nodeid, location=item.location)
    for attempt in range(3):
        reports = runtestprotocol(item, nextitem=nextitem, log=False)
        again = attempt < 2 and any(report.failed for report in reports)
        for report in reports:
            if again and report.failed:
                if {silent}:
                    continue
                report.outcome = "rerun"
            item.ihook.pytest_runtest_logreport(report=report)
        if not again:
            break
        item._initrequest()
    item.ihook.pytest_runtest_logfinish(nodeid=item.nodeid, location=item.location)
    return True

def pytest_report_teststatus(report):
    return ("rerun", "R", "RERUN") if report.outcome == "rerun" else None
"""
TESTS = """
from pathlib import Path

@pytest.fixture
def run(tvm_tune):
    return tvm_tune(Tiny(), **GIVEN)

def test_second(run):
    again = Path("again")
    off = not again.exists()
    again.touch()
    run.assert_no_regression()
    run.assert_allclose(EXPECTED + off)

def test_never(run):
    run.check(EXPECTED + 1)

@pytest.mark.xfail
def test_expected(run):
    run.check(EXPECTED + 1)

@pytest.mark.xfail(strict=True)
def test_strict(run):
    run.check(EXPECTED)

@pytest.mark.xfail(strict=False)
def test_lenient(run):
    run.check(EXPECTED)

def test_skipped(run):
    pytest.skip("for a reason")
"""
OUTCOMES = {
    "second": "passed",
    "never": "failed",
    "expected": "xfailed",
    "strict": "failed",
    "lenient": "xpassed",
    "skipped": "skipped",
}


def run_again(
    suite: pytest.Pytester, *options: str, silent: bool = False
) -> tuple[pytest.RunResult, dict[str, dict[str, Any]]]:
    """Run the suite, and return its result with the JSON report's cases by name."""
    suite.makeconftest(RERUNS.replace("{silent}", str(silent)))
    suite.makeini("[pytest]\ntvm_trials = 0\ntvm_max_time = 0.1\n")
    suite.makepyfile(TINY + TESTS)
    (suite.path / "again").unlink(missing_ok=True)
    result = suite.runpytest_subprocess("--tvm-json=report.json", *options)
    cases = json.loads((suite.path / "report.json").read_text())["cases"]
    by_name = {case["name"]: case for case in cases}
    assert len(by_name) == len(cases)
    return result, by_name


@pytest.mark.parametrize("workers", WORKERS, ids=WORKER_IDS)
def test_the_last_attempt_counts(suite: pytest.Pytester, workers: tuple[str, ...]) -> None:
    result, cases = run_again(
        suite, *workers, "--tvm-update-new", "-v", "--benchmark-json=benchmark.json"
    )
    result.assert_outcomes(passed=1, failed=2, skipped=1, xfailed=1, xpassed=1)
    assert {name: case["outcome"] for name, case in cases.items()} == OUTCOMES
    attempts = {name: case["attempts"] for name, case in cases.items()}
    assert attempts == {**dict.fromkeys(OUTCOMES, 1), "second": 2, "never": 3, "strict": 3}
    (before,) = cases["second"]["earlier_findings"]
    assert "wrong numbers against expected" in before
    assert cases["second"]["findings"] == []
    assert len(cases["never"]["earlier_findings"]) == 2
    result.stdout.fnmatch_lines_random(
        [
            "second[[]llvm[]]: attempt 2 of the test",
            "second[[]llvm[]]:   before: second[[]llvm[]]: wrong numbers against expected: *",
            "expected * WRONG NUMBERS, xfailed",
            "6 cases, 2 failed, 1 skipped, 1 xfailed, 1 xpassed: *",
            "*accepted 2 baselines",
        ]
    )
    # Wrong numbers, and tests that failed, lack no baseline.
    result.stdout.no_fnmatch_line("*new baseline*")
    accepted = {name for name, case in cases.items() if (case["latency"] or {}).get("accepted")}
    assert accepted == {"second", "lenient"}
    assert len(list((suite.path / ".tvmtune" / "baselines").glob("*.json"))) == 2
    if not workers:
        benchmarks = json.loads((suite.path / "benchmark.json").read_text())["benchmarks"]
        names = [one["name"].partition("[")[0] for one in benchmarks]
        assert len(names) == len(set(names))


def test_attempts_that_are_not_reported_are_told_apart(suite: pytest.Pytester) -> None:
    result, cases = run_again(suite, silent=True)
    result.assert_outcomes(passed=1, failed=2, skipped=1, xfailed=1, xpassed=1)
    assert {name: case["outcome"] for name, case in cases.items()} == OUTCOMES
    assert cases["second"]["attempts"] == 2
    result.stdout.fnmatch_lines(["6 cases, *(accept 2 new baselines with --tvm-update-new)"])


def test_the_same_test_named_twice_is_two(suite: pytest.Pytester) -> None:
    suite.makeini("[pytest]\ntvm_trials = 0\n")
    suite.makepyfile(test_it=TINY + "def test_it(tvm_tune): tvm_tune(Tiny(), **GIVEN).outputs\n")
    result = suite.runpytest_subprocess("--keep-duplicates", "test_it.py", "test_it.py")
    result.assert_outcomes(passed=2, warnings=2)
    result.stdout.fnmatch_lines(["2 cases, 0 failed: 2 not timed; *"])
