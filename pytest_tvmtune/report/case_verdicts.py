"""The verdict of a case in reports: the gate's, or a word for a case without one."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from typing import Literal

from pytest_tvmtune.core.gating.verdict import Verdict
from pytest_tvmtune.core.results.case_result import CaseResult

# The gate's verdicts, and the words for cases without one.
CaseVerdict = Verdict | Literal["WRONG NUMBERS", "FAILED", "not timed"]
VerdictClass = Literal["fail", "warn", "new", "good", "pass", "none"]
WRONG: Literal["WRONG NUMBERS"] = "WRONG NUMBERS"
FAILED: Literal["FAILED"] = "FAILED"
NOT_TIMED: Literal["not timed"] = "not timed"
_KINDS: dict[CaseVerdict, VerdictClass] = {
    WRONG: "fail",
    "REGRESSION": "fail",
    FAILED: "fail",
    "INCOMPARABLE": "warn",
    "INCONCLUSIVE": "warn",
    "NEW": "new",
    "IMPROVEMENT": "good",
    "PASS": "pass",
    NOT_TIMED: "none",
}
# Reports have verdicts in this order, the worst first.
VERDICTS = tuple(_KINDS)


def has_failed(result: CaseResult) -> bool:
    """Whether the test failed, or the case alone should have made it fail.

    A test that fails as expected, or is skipped after that, hasn't failed, as in pytest.
    """
    if result.outcome in {"xfailed", "skipped"}:
        return False
    return result.outcome == "failed" or bool(result.findings)


def verdict_of(result: CaseResult) -> CaseVerdict:
    """Return the worst of VERDICTS that applies to a case."""
    latency = result.latency
    if any(not error.passed for error in result.errors):
        return WRONG
    if latency is not None and latency.verdict == "REGRESSION":
        return "REGRESSION"
    if result.findings:
        return FAILED
    return NOT_TIMED if latency is None else latency.verdict


def verdict_words(result: CaseResult) -> str:
    """Return the verdict, with other facts that a reader needs at a glance."""
    verdict, latency = verdict_of(result), result.latency
    words: str = verdict
    slower = latency is not None and latency.verdict == "REGRESSION"
    if result.outcome == "xfailed":
        return f"{verdict}, xfailed"
    if verdict == WRONG and slower:
        return f"{WRONG}, REGRESSION"
    if latency is None or verdict in {WRONG, FAILED}:
        return verdict
    if has_failed(result) and not slower:
        words += ", test failed"
    if result.outcome == "xpassed":
        words += ", xpassed"
    accepted = ", accepted" if latency.accepted else ""
    return f"{words}{accepted}{', anchored' if result.anchored else ''}"


def kind_of(result: CaseResult) -> VerdictClass:
    """Return the kind of a case's verdict; `fail` if its test failed."""
    if has_failed(result):
        return "fail"
    kind = _KINDS.get(verdict_of(result), "warn")
    # The test failed as expected.
    return "warn" if kind == "fail" else kind


def worst_first(results: Sequence[CaseResult]) -> list[CaseResult]:
    """Return the cases in order of kind, then of verdict, then the slowest first."""
    kinds = tuple(dict.fromkeys(_KINDS.values()))

    def rank(result: CaseResult) -> tuple[int, int, float, str, str]:
        verdict, latency = verdict_of(result), result.latency
        ratio = latency.slowdown_ratio if latency and latency.slowdown_ratio else 0.0
        order = VERDICTS.index(verdict) if verdict in VERDICTS else len(VERDICTS)
        return kinds.index(kind_of(result)), order, -ratio, result.nodeid, result.name

    return sorted(results, key=rank)


def worst_of_each(
    results: Sequence[CaseResult], key: Callable[[CaseResult], Hashable]
) -> list[CaseResult]:
    """Return the worst result of each case, in order of the first; a case can run several times.

    Under `--dist=each` of pytest-xdist, several workers run it.
    """
    order = dict.fromkeys(map(key, results))
    worst = {key(result): result for result in reversed(worst_first(results))}
    return [worst[one] for one in order]
