"""Two runs next to each other, by their numbers alone."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

from pytest_tvmtune.core.results.case_label import without_group
from pytest_tvmtune.core.results.case_result import CaseResult
from pytest_tvmtune.core.settings.quantities import Threshold
from pytest_tvmtune.report.case_verdicts import (
    FAILED,
    VERDICTS,
    WRONG,
    has_failed,
    verdict_of,
    worst_of_each,
)
from pytest_tvmtune.report.text_tables import format_seconds, table_lines

# The worst first. failed: it did better in the first run. lost: only the first run timed it.
PairState = Literal["failed", "lost", "slower", "unknown", "same", "faster"]
_STATES: tuple[PairState, ...] = get_args(PairState)
_HEADINGS = ("case", "A", "B", "B/A", "B is", "code", "verdict in A", "verdict in B")


@dataclass(frozen=True, kw_only=True)
class CasePair:
    """A case in two runs; None if a run doesn't have it. Times are in seconds for each call."""

    nodeid: str
    label: str
    first: CaseResult | None
    second: CaseResult | None

    @property
    def times_s(self) -> tuple[float | None, float | None]:
        """The median time of a call in each run."""
        return _median_s(self.first), _median_s(self.second)

    @property
    def ratio(self) -> float | None:
        """Second/first: 1.10 is 10 % slower; None if a run didn't time the case."""
        before, after = self.times_s
        return after / before if before and after else None

    @property
    def same_code(self) -> bool | None:
        """Whether both are the same library; None if a run has no library."""
        if self.first is None or self.second is None:
            return None
        hashes = {self.first.artifact, self.second.artifact}
        return None if "" in hashes else len(hashes) == 1


@dataclass(frozen=True, kw_only=True)
class JudgedPair:
    """A pair, and how its second run compares. reason: why that is unknown."""

    pair: CasePair
    state: PairState
    reason: str = ""


def pair_cases(first: Sequence[CaseResult], second: Sequence[CaseResult]) -> list[CasePair]:
    """Return a pair for each case of either run, in order of its test's id.

    Of a case that ran several times, the worst result counts.
    """
    runs = [{_key(case): case for case in worst_of_each(cases, _key)} for cases in (first, second)]
    pairs = []
    for nodeid, name in sorted(set(runs[0]) | set(runs[1])):
        one, other = (run.get((nodeid, name)) for run in runs)
        known = one or other
        assert known is not None
        pairs.append(CasePair(nodeid=nodeid, label=known.label, first=one, second=other))
    return pairs


def _key(case: CaseResult) -> tuple[str, str]:
    return without_group(case.nodeid), case.name


def judge_pairs(pairs: Sequence[CasePair], bound: Threshold, *, same_cpu: bool) -> list[JudgedPair]:
    """Return how each pair compares, the worst first.

    Args:
        pairs: The pairs.
        bound: The change of the time that counts.
        same_cpu: Whether both runs have the same CPU model. Otherwise, no time is compared.
    """
    judged = [_judge(pair, bound, same_cpu=same_cpu) for pair in pairs]
    return sorted(
        judged, key=lambda one: (_STATES.index(one.state), -(one.pair.ratio or -math.inf))
    )


def _judge(pair: CasePair, bound: Threshold, *, same_cpu: bool) -> JudgedPair:
    before, now = pair.first, pair.second
    if now is not None and has_failed(now) and (before is None or _is_worse(now, before)):
        return JudgedPair(pair=pair, state="failed")
    if _median_s(before) and not _median_s(now):
        reason = "not in B" if now is None else "not timed in B"
        return JudgedPair(pair=pair, state="lost", reason=reason)
    if before is None or now is None:
        where = "A" if before is None else "B"
        return JudgedPair(pair=pair, state="unknown", reason=f"not in {where}")
    if reason := _not_comparable(before, now, same_cpu=same_cpu):
        return JudgedPair(pair=pair, state="unknown", reason=reason)
    before_s, ratio = pair.times_s[0], pair.ratio
    assert before_s is not None
    assert ratio is not None
    fast, slow = bound.limits(before_s)
    state: PairState = "slower" if ratio > slow else "faster" if ratio < fast else "same"
    return JudgedPair(pair=pair, state=state)


def _is_worse(failed: CaseResult, before: CaseResult) -> bool:
    """Whether a failed case did better before, such as a slow case whose numbers are wrong now."""
    if not has_failed(before):
        return True
    return VERDICTS.index(verdict_of(failed)) < VERDICTS.index(verdict_of(before))


def _not_comparable(before: CaseResult, now: CaseResult, *, same_cpu: bool) -> str:
    """Return why two times can't be compared, "" if they can."""
    for case, where in ((before, "A"), (now, "B")):
        if verdict_of(case) == WRONG:
            return f"wrong numbers in {where}"
        if verdict_of(case) == FAILED:
            return f"failed in {where}"
        if not _median_s(case):
            return f"not timed in {where}"
    if not same_cpu:
        return "other CPU"
    assert before.latency is not None
    assert now.latency is not None
    # Reports of the first versions don't have the threads.
    threads = {before.latency.num_threads, now.latency.num_threads} - {0}
    return "other number of threads" if len(threads) > 1 else ""


def pair_lines(judged: Sequence[JudgedPair]) -> list[str]:
    """Return the table."""
    labels = [one.pair.label for one in judged]
    rows = []
    for one in judged:
        pair = one.pair
        before_s, after_s = pair.times_s
        code = {None: "-", True: "same", False: "other"}[pair.same_code]
        rows.append(
            (
                # Tests of two files can have the same name.
                pair.label if labels.count(pair.label) == 1 else pair.nodeid,
                "-" if before_s is None else format_seconds(before_s),
                "-" if after_s is None else format_seconds(after_s),
                "-" if pair.ratio is None else f"{pair.ratio:.3f}",
                f"{one.state}: {one.reason}" if one.reason else one.state,
                code,
                _verdict(pair.first),
                _verdict(pair.second),
            )
        )
    return table_lines(_HEADINGS, rows, right={"A", "B", "B/A"})


def count_line(judged: Sequence[JudgedPair], bound: Threshold) -> str:
    """Return how many pairs there are of each state, the worst first."""
    words: dict[PairState, str] = {
        "failed": "failed in B",
        "lost": "timed in A only",
        "slower": f"slower by more than {bound.text}",
        "unknown": "unknown",
        "same": "the same",
        "faster": f"faster by more than {bound.text}",
    }
    counts = Counter(one.state for one in judged)
    return ", ".join(f"{counts[state]} {words[state]}" for state in _STATES if counts[state])


def _median_s(case: CaseResult | None) -> float | None:
    return None if case is None or case.latency is None else case.latency.median_s


def _verdict(case: CaseResult | None) -> str:
    if case is None:
        return "not in this run"
    verdict = "not timed" if case.latency is None else case.latency.verdict
    return verdict if case.outcome in {"passed", ""} else f"{verdict}, {case.outcome}"
