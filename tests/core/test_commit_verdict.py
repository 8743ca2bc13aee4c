"""The verdict on a commit in a bisection."""

from __future__ import annotations

from dataclasses import replace

import pytest

from pytest_tvmtune.core.bisecting.commit_verdict import (
    CommitVerdict,
    Sought,
    judge_case,
    judge_cases,
    verdict_on_commit,
)
from pytest_tvmtune.core.gating.slowdown_cause import Cause, CauseKind
from pytest_tvmtune.core.gating.verdict import Verdict
from pytest_tvmtune.core.results.case_result import CaseResult
from pytest_tvmtune.core.results.comparison_result import ErrorResult
from pytest_tvmtune.core.results.failure import Failure, FailureKind
from pytest_tvmtune.core.results.latency_result import LatencyResult


def case(
    name: str = "mlp",
    *,
    verdict: Verdict | None = "PASS",
    numbers: str = "right",
    cause: CauseKind | None = None,
    kind: FailureKind | None = None,
) -> CaseResult:
    error = ErrorResult(
        against="torch", passed=numbers == "right", max_abs_error=0.0, max_rel_error=0.0
    )
    latency = verdict and LatencyResult(
        verdict=verdict,
        message="as measured",
        cause=Cause(kind=cause, message="other") if cause else None,
    )
    return CaseResult(
        name=name,
        nodeid=f"test_it.py::test_{name}[llvm]",
        entry="main",
        target_name="llvm",
        target="{}",
        prepack=False,
        errors=[] if numbers == "none" else [error],
        latency=latency or None,
        failure=Failure(kind=kind) if kind else None,
        findings=[f"{name}[llvm]: it crashed\n  log: there"] if kind else [],
    )


@pytest.mark.parametrize(
    ("result", "slower", "wrong", "both"),
    [
        (case(), "good", "good", "good"),
        (case(verdict="IMPROVEMENT"), "good", "good", "good"),
        (case(verdict="REGRESSION", kind="regression"), "bad", "good", "bad"),
        (case(verdict="REGRESSION", cause="model"), "bad", "good", "bad"),
        # The same workloads with other schedules: tuning is the reason, and no commit.
        (case(verdict="REGRESSION", cause="schedule"), "undecided", "good", "undecided"),
        (case(verdict="INCONCLUSIVE"), "undecided", "good", "undecided"),
        (case(verdict="INCOMPARABLE"), "undecided", "good", "undecided"),
        (case(verdict="NEW"), "undecided", "good", "undecided"),
        (case(verdict=None), "undecided", "good", "undecided"),
        # The time of wrong numbers decides nothing.
        (case(numbers="wrong"), "undecided", "bad", "bad"),
        (case(verdict="REGRESSION", numbers="wrong"), "undecided", "bad", "bad"),
        (case(numbers="none"), "good", "undecided", "good"),
        (case(verdict=None, numbers="none", kind="crash"), "undecided", "undecided", "undecided"),
        # Prepacked and plain were to be compared after these numbers.
        (case(verdict=None, kind="crash"), "undecided", "undecided", "undecided"),
    ],
)
def test_what_is_sought_decides(
    result: CaseResult, slower: CommitVerdict, wrong: CommitVerdict, both: CommitVerdict
) -> None:
    sought: tuple[Sought, ...] = ("slower", "wrong", "any")
    judged = [judge_case(result, one) for one in sought]
    assert [one.verdict for one in judged] == [slower, wrong, both]
    assert all(one.reason.startswith("mlp[llvm]: ") for one in judged)


@pytest.mark.parametrize(
    ("verdicts", "expected"),
    [
        (("PASS", "PASS"), "good"),
        (("PASS", "REGRESSION"), "bad"),
        (("INCONCLUSIVE", "REGRESSION"), "bad"),
        (("PASS", "INCONCLUSIVE"), "undecided"),
        ((), "undecided"),
    ],
)
def test_the_worst_case_decides(verdicts: tuple[Verdict, ...], expected: CommitVerdict) -> None:
    results = [case(f"m{number}", verdict=verdict) for number, verdict in enumerate(verdicts)]
    assert verdict_on_commit(judge_cases(results, "slower", None)) == expected


def test_only_the_cases_that_are_asked_for_decide() -> None:
    one, other = case("one"), case("other", verdict="REGRESSION")
    key = ("test_it.py::test_one[llvm]", "one")
    grouped = replace(one, nodeid=f"{one.nodeid}@models")
    assert verdict_on_commit(judge_cases([grouped, other], "slower", [key])) == "good"
    (missing,) = judge_cases([other], "slower", [key])
    assert (missing.verdict, missing.reason) == ("undecided", f"{key[0]}: not in this run")


def test_a_reason_is_one_line_without_the_label_twice() -> None:
    judged = judge_case(case(verdict=None, numbers="none", kind="crash"), "slower")
    assert judged.reason == "mlp[llvm]: it crashed"
