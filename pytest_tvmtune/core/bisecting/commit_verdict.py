"""The verdict on a commit in a bisection, from the results of its cases."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Literal

from pytest_tvmtune.core.results.case_label import without_group
from pytest_tvmtune.core.results.case_result import CaseResult
from pytest_tvmtune.core.results.failure import FailureKind

Sought = Literal["slower", "wrong", "any"]
CommitVerdict = Literal["good", "bad", "undecided"]
# A case in all commits: the id of its test, and its name.
CaseKey = tuple[str, str]
# Failures of a case that has been compiled, run, and compared to the end.
_AFTER_THE_NUMBERS: Collection[FailureKind] = ("regression", "drift", "growth", "over budget")


@dataclass(frozen=True, kw_only=True)
class JudgedCase:
    """A case of a commit. reason: in one line. result: None if the commit doesn't have the case."""

    key: CaseKey
    verdict: CommitVerdict
    reason: str
    result: CaseResult | None = None


def key_of_case(result: CaseResult) -> CaseKey:
    """Return what a case has in every commit."""
    return without_group(result.nodeid), result.name


def judged_case(result: CaseResult, verdict: CommitVerdict, reason: str) -> JudgedCase:
    """Return a case with its verdict. reason: without the label of the case."""
    return JudgedCase(
        key=key_of_case(result),
        verdict=verdict,
        reason=f"{result.label}: {reason}",
        result=result,
    )


def judge_case(result: CaseResult, sought: Sought) -> JudgedCase:
    """Return whether a case shows what is sought.

    slower: a REGRESSION. The time of wrong numbers decides nothing, and neither does the time of
    the same workloads with other schedules. wrong: a comparison of outputs that failed. any: one of
    both.
    """
    numbers, speed = _numbers(result), _speed(result)
    if sought == "wrong":
        verdict, reason = numbers
    elif numbers[0] == "bad":
        verdict, reason = numbers if sought == "any" else ("undecided", numbers[1])
    else:
        verdict, reason = speed
    return judged_case(result, verdict, reason)


def judge_cases(
    results: Sequence[CaseResult], sought: Sought, keys: Collection[CaseKey] | None
) -> list[JudgedCase]:
    """Return a judged case for each key, or for each result if keys is None."""
    judged = {key_of_case(result): judge_case(result, sought) for result in results}
    if keys is None:
        return list(judged.values())
    missing = [
        JudgedCase(key=key, verdict="undecided", reason=f"{key[0]}: not in this run")
        for key in keys
        if key not in judged
    ]
    return [*(judged[key] for key in keys if key in judged), *missing]


def verdict_on_commit(judged: Sequence[JudgedCase]) -> CommitVerdict:
    """Return `bad` if a case is bad, else `undecided` if one is, or if there is none."""
    verdicts = {one.verdict for one in judged}
    if "bad" in verdicts:
        return "bad"
    return "good" if verdicts == {"good"} else "undecided"


def _numbers(result: CaseResult) -> tuple[CommitVerdict, str]:
    wrong = [error for error in result.errors if not error.passed]
    if wrong:
        return "bad", f"wrong numbers against {wrong[0].against}: {_first_line(wrong[0].message)}"
    if result.failure is not None and result.failure.kind not in _AFTER_THE_NUMBERS:
        return "undecided", _failure(result)
    if not result.errors:
        return "undecided", "its numbers weren't compared with anything"
    return "good", f"right numbers against {result.errors[0].against}"


def _speed(result: CaseResult) -> tuple[CommitVerdict, str]:
    latency = result.latency
    if latency is None:
        return "undecided", _failure(result) if result.findings else "not timed"
    verdicts: dict[str, CommitVerdict] = {
        "REGRESSION": "bad",
        "PASS": "good",
        "IMPROVEMENT": "good",
    }
    reason = f"{latency.verdict}: {_first_line(latency.message)}"
    cause = latency.cause
    if latency.verdict == "REGRESSION" and cause is not None and cause.kind == "schedule":
        return "undecided", f"{reason}; only tuning differs: {cause.message}"
    return verdicts.get(latency.verdict, "undecided"), reason


def _failure(result: CaseResult) -> str:
    """Return the first line of the first finding, without the label of the case."""
    found = next(iter(result.findings), "the test failed")
    return _first_line(found.removeprefix(f"{result.label}: "))


def _first_line(text: str) -> str:
    return next(iter(text.splitlines()), "")
