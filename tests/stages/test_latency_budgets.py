"""Latency budgets: within, over, undecided, and on another machine."""

from __future__ import annotations

from dataclasses import replace

import pytest

from pytest_tvmtune.core.results.budget_result import BudgetResult
from pytest_tvmtune.stages.case import Case
from pytest_tvmtune.stages.latency.budget_verdicts import judge_budgets
from pytest_tvmtune.stages.latency_checks import ANY_MACHINE, LATENCY_CHECKS
from pytest_tvmtune.stages.pipeline import make_checks, prepare
from tests.support.cases import build_of, run_of
from tests.support.modules import OpenCase, Square


def judged(case: Case) -> list[BudgetResult]:
    return list(judge_budgets(case, build_of(case).artifact, expected_s=1e-5))


def test_within_and_over(open_: OpenCase) -> None:
    settings = {"trials": 0, "max_time": 1, "max_latency": "1s, p90:0.001us"}
    median, over = judged(open_(Square, settings=settings))
    assert [one.verdict for one in (median, over)] == ["PASS", "OVER BUDGET"]
    assert median.interval is not None
    assert median.value_s is not None
    assert median.interval[0] <= median.value_s <= median.interval[1] < 1
    assert 20 <= median.calls <= 5000
    assert "median" in median.message


def test_too_little_time_for_a_high_percentile(open_: OpenCase) -> None:
    settings = {"trials": 0, "max_time": "10ms", "max_latency": "p99.9:1s"}
    (found,) = judged(open_(Square, settings=settings))
    assert found.verdict == "INCONCLUSIVE"
    assert " or more), budget 1 s" in found.message
    assert "to measure more calls, raise --tvm-max-time" in found.message


def test_another_machine_measures_nothing(open_: OpenCase) -> None:
    case = open_(
        Square, settings={"trials": 0, "max_latency": "0.001us", "only_on": "another machine"}
    )
    (found,) = judged(case)
    assert (found.verdict, found.calls) == ("INCOMPARABLE", 0)
    assert "is for 'another machine' only" in found.message
    here = replace(case, options=replace(case.options, only_on=case.machine.cpu[:5].upper()))
    assert judged(here)[0].verdict == "OVER BUDGET"


@pytest.mark.parametrize("strict", [False, True])
def test_a_budget_fails_the_test(open_: OpenCase, *, strict: bool) -> None:
    run = run_of(open_(Square, settings={"trials": 0, "max_latency": "0.001us"}))
    run.run_options = replace(run.run_options, strict=strict)
    (finding,) = make_checks(run, prepare, *LATENCY_CHECKS)
    assert finding.startswith("model[llvm]: over budget: median ")
    assert run.result.failure is not None
    assert run.result.failure.kind == "over budget"
    assert any(ANY_MACHINE in one for one in run.result.warnings) == strict
