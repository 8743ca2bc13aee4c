"""Two runs next to each other, by their numbers alone."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from pytest_tvmtune.core.results.case_label import without_group
from pytest_tvmtune.core.results.case_result import CaseResult
from pytest_tvmtune.report.text_tables import format_seconds, table_lines

_HEADINGS = ("case", "A", "B", "B/A", "code", "verdict in A", "verdict in B")


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


def pair_cases(first: Sequence[CaseResult], second: Sequence[CaseResult]) -> list[CasePair]:
    """Return a pair for each case of either run, the largest ratio first."""
    runs = [
        {(without_group(case.nodeid), case.name): case for case in cases}
        for cases in (first, second)
    ]
    pairs = []
    for nodeid, name in sorted(set(runs[0]) | set(runs[1])):
        one, other = (run.get((nodeid, name)) for run in runs)
        known = one or other
        assert known is not None
        pairs.append(CasePair(nodeid=nodeid, label=known.label, first=one, second=other))
    return sorted(pairs, key=lambda pair: -(pair.ratio or -math.inf))


def pair_lines(pairs: Sequence[CasePair]) -> list[str]:
    """Return the table, and a note on its numbers."""
    labels = [pair.label for pair in pairs]
    rows = []
    for pair in pairs:
        before_s, after_s = pair.times_s
        code = {None: "-", True: "same", False: "other"}[pair.same_code]
        rows.append(
            (
                # Tests of two files can have the same name.
                pair.label if labels.count(pair.label) == 1 else pair.nodeid,
                "-" if before_s is None else format_seconds(before_s),
                "-" if after_s is None else format_seconds(after_s),
                "-" if pair.ratio is None else f"{pair.ratio:.3f}",
                code,
                _verdict(pair.first),
                _verdict(pair.second),
            )
        )
    return [
        *table_lines(_HEADINGS, rows, right={"A", "B", "B/A"}),
        "",
        (
            "The runs are from different times. On a shared machine, latencies differ between "
            "runs even if nothing changed."
        ),
    ]


def _median_s(case: CaseResult | None) -> float | None:
    return None if case is None or case.latency is None else case.latency.median_s


def _verdict(case: CaseResult | None) -> str:
    if case is None:
        return "not in this run"
    verdict = "not timed" if case.latency is None else case.latency.verdict
    return verdict if case.outcome in {"passed", ""} else f"{verdict}, {case.outcome}"
