"""Two runs next to each other."""

from __future__ import annotations

from dataclasses import replace

import pytest

from pytest_tvmtune.core.results.case_result import CaseResult
from pytest_tvmtune.core.results.comparison_result import ErrorResult
from pytest_tvmtune.core.settings.quantities import parse_threshold
from pytest_tvmtune.report.compared_runs import (
    JudgedPair,
    count_line,
    judge_pairs,
    pair_cases,
    pair_lines,
)
from tests.support.sample_report import sample_case

BOUND = parse_threshold("5%", "--fail-on")
WRONG = ErrorResult(against="torch", passed=False, max_abs_error=1.0, max_rel_error=1.0)


def timed(median_s: float | None, *, number: int = 0, num_threads: int = 2) -> CaseResult:
    case = sample_case(number)
    assert case.latency is not None
    latency = replace(
        case.latency, median_s=median_s, num_threads=num_threads, verdict="PASS", cause=None
    )
    return replace(case, latency=latency, errors=[], findings=[], outcome="passed")


def wrong(median_s: float) -> CaseResult:
    return replace(timed(median_s), errors=[WRONG], outcome="failed")


def judged(
    first: list[CaseResult], second: list[CaseResult], *, bound: str = "5%", same_cpu: bool = True
) -> list[JudgedPair]:
    limit = parse_threshold(bound, "--fail-on")
    return judge_pairs(pair_cases(first, second), limit, same_cpu=same_cpu)


def test_a_run_of_xdist_groups_is_compared_with_one_without() -> None:
    case = sample_case(0)
    grouped = replace(case, nodeid=f"{case.nodeid}@models")
    (pair,) = pair_cases([grouped], [case])
    assert (pair.nodeid, pair.first, pair.second) == (case.nodeid, grouped, case)


def test_outcomes_other_than_passed_are_shown() -> None:
    case = sample_case(0)
    lines = pair_lines(judged([case], [replace(case, outcome="xfailed")]))
    assert lines[1].endswith("PASS, xfailed")


@pytest.mark.parametrize(
    ("after_s", "bound", "state"),
    [
        (1.06e-3, "5%", "slower"),
        (1.04e-3, "5%", "same"),
        (0.96e-3, "5%", "same"),
        (0.95e-3, "5%", "faster"),
        (1.3e-3, "0.2ms", "slower"),
        (1.1e-3, "0.2ms", "same"),
    ],
)
def test_times_are_compared_with_the_bound(after_s: float, bound: str, state: str) -> None:
    (one,) = judged([timed(1e-3)], [timed(after_s)], bound=bound)
    assert (one.state, one.reason) == (state, "")


@pytest.mark.parametrize(
    ("first", "second", "reason"),
    [
        ([], [timed(1e-3)], "not in A"),
        ([timed(None)], [timed(1e-3)], "not timed in A"),
        ([timed(None)], [], "not in B"),
        ([wrong(1e-3)], [timed(9e-3)], "wrong numbers in A"),
        ([replace(timed(1e-3), findings=["too large"])], [timed(9e-3)], "failed in A"),
        ([timed(1e-3)], [replace(wrong(9e-3), outcome="xfailed")], "wrong numbers in B"),
        ([timed(1e-3)], [timed(9e-3, num_threads=1)], "other number of threads"),
    ],
)  # fmt: skip
def test_what_can_not_be_known_is_said(
    first: list[CaseResult], second: list[CaseResult], reason: str
) -> None:
    (one,) = judged(first, second)
    assert (one.state, one.reason) == ("unknown", reason)


def test_times_of_other_cpus_are_not_compared() -> None:
    (one,) = judged([timed(1e-3)], [timed(9e-3)], same_cpu=False)
    assert (one.state, one.reason) == ("unknown", "other CPU")
    assert f"unknown: {one.reason}" in pair_lines([one])[1]


def test_a_failure_is_worse_than_any_slowdown_and_the_worst_comes_first() -> None:
    names = [timed(1e-3, number=number).nodeid for number in range(5)]
    assert len(set(names)) == 5
    first = [timed(1e-3, number=number) for number in range(5)]
    second = [
        timed(1e-3, number=0),
        timed(1.2e-3, number=1),
        replace(timed(1e-3, number=2), outcome="failed", findings=["wrong"]),
        timed(9e-3, number=3),
    ]
    found = judged(first, second)
    assert [(one.state, names.index(one.pair.nodeid)) for one in found] == [
        ("failed", 2), ("lost", 4), ("slower", 3), ("slower", 1), ("same", 0),
    ]  # fmt: skip
    assert count_line(found, BOUND) == (
        "1 failed in B, 1 timed in A only, 2 slower by more than 5%, 1 the same"
    )


def test_what_failed_in_both_is_no_news() -> None:
    slower = replace(timed(1e-3), outcome="failed")
    assert [one.state for one in judged([slower], [slower])] == ["same"]


@pytest.mark.parametrize(
    ("second", "reason"),
    [
        ([], "not in B"),
        ([replace(timed(1e-3), latency=None)], "not timed in B"),
        ([replace(timed(1e-3), latency=None, outcome="skipped")], "not timed in B"),
        ([replace(timed(None), findings=["crashed"], outcome="xfailed")], "not timed in B"),
    ],
)
def test_a_case_whose_time_is_gone_is_lost(second: list[CaseResult], reason: str) -> None:
    (one,) = judged([timed(1e-3)], second)
    assert (one.state, one.reason) == ("lost", reason)


def test_a_new_case_that_fails_and_one_that_does_worse_have_failed() -> None:
    (new,) = judged([], [wrong(1e-3)])
    latency = timed(1e-3).latency
    assert latency is not None
    slow = replace(
        timed(1e-3),
        latency=replace(latency, verdict="REGRESSION"),
        outcome="failed",
        findings=["x"],
    )
    (worse,) = judged([slow], [wrong(1e-3)])
    (better,) = judged([wrong(1e-3)], [slow])
    assert (new.state, worse.state, better.state) == ("failed", "failed", "unknown")


def test_the_worst_of_several_runs_of_a_case_counts() -> None:
    (one,) = judged([timed(1e-3)], [wrong(1e-3), timed(1e-3)])
    assert one.state == "failed"
