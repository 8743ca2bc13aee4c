"""Verdicts in reports: one word a case, the worst first."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from pytest_tvmtune.report.case_verdicts import (
    has_failed,
    kind_of,
    verdict_of,
    verdict_words,
    worst_first,
)
from tests.support.sample_report import sample_case

CASES = [sample_case(number) for number in range(9)]
BY_NAME = {case.name: case for case in CASES}


def test_the_worst_comes_first() -> None:
    assert [verdict_of(case) for case in worst_first(CASES)] == [
        "WRONG NUMBERS", "REGRESSION", "FAILED", "INCONCLUSIVE", "NEW", "IMPROVEMENT",
        "PASS", "PASS", "PASS",
    ]  # fmt: skip


def test_of_one_verdict_the_slowest_comes_first() -> None:
    slow = BY_NAME["cnn"]
    assert slow.latency is not None
    slower = replace(slow, latency=replace(slow.latency, slowdown_ratio=2.0))
    assert worst_first([slow, slower]) == [slower, slow]


def test_a_test_that_failed_beside_our_checks_is_among_the_failed() -> None:
    case = replace(BY_NAME["mlp"], outcome="failed")
    assert (verdict_of(case), kind_of(case)) == ("PASS", "fail")
    assert verdict_words(case) == "PASS, test failed"
    assert worst_first([*CASES, case]).index(case) < 4


def test_a_verdict_that_a_later_version_knows() -> None:
    case = BY_NAME["mlp"]
    assert case.latency is not None
    later: dict[str, Any] = {"verdict": "DRIFT"}
    unknown = replace(case, latency=replace(case.latency, **later))
    assert (verdict_of(unknown), kind_of(unknown)) == ("DRIFT", "warn")
    assert worst_first([unknown, case]) == [unknown, case]


def test_what_fails_as_expected_has_not_failed() -> None:
    wrong = replace(BY_NAME["silero"], outcome="xfailed")
    assert not has_failed(wrong)
    assert (verdict_words(wrong), kind_of(wrong)) == ("WRONG NUMBERS, xfailed", "warn")
    unexpected = replace(BY_NAME["mlp"], outcome="xpassed")
    assert verdict_words(unexpected) == "PASS, xpassed"
    assert not has_failed(unexpected)
