"""Which part is blamed for time and for numbers, from the comparisons of a case."""

from __future__ import annotations

from typing import get_args

import pytest

from pytest_tvmtune.core.gating.verdict import Verdict
from pytest_tvmtune.core.results.comparison_result import ErrorResult
from pytest_tvmtune.core.results.latency_result import LatencyResult
from pytest_tvmtune.core.vetting.slower_part import differing_part_of, slower_part_of
from pytest_tvmtune.core.vetting.vet_report import ComparedSides, SidesComparison, SlowerPart

SIDES: tuple[ComparedSides, ...] = get_args(ComparedSides)


def timed(*verdicts: Verdict | None) -> list[SidesComparison]:
    """Return the comparisons of all sides, in their order; None is one that wasn't made."""
    return [
        SidesComparison(
            sides=sides, same_code=False, latency=LatencyResult(verdict=verdict, message="")
        )
        for sides, verdict in zip(SIDES, verdicts, strict=True)
        if verdict is not None
    ]


@pytest.mark.parametrize(
    ("verdicts", "part"),
    [
        (("PASS", "PASS", "PASS"), ""),
        (("REGRESSION", "REGRESSION", "PASS"), "runtime"),
        (("REGRESSION", "PASS", "REGRESSION"), "generated code"),
        (("REGRESSION", "REGRESSION", "REGRESSION"), "both"),
        # What is faster doesn't hide the part that is slower.
        (("PASS", "REGRESSION", "IMPROVEMENT"), "runtime"),
        (("IMPROVEMENT", "IMPROVEMENT", "REGRESSION"), "generated code"),
        (("REGRESSION", "INCONCLUSIVE", "INCONCLUSIVE"), "not separated"),
        (("REGRESSION", None, None), "not separated"),
        (("INCONCLUSIVE", "INCONCLUSIVE", "INCONCLUSIVE"), ""),
    ],
)
def test_the_slower_part(verdicts: tuple[Verdict | None, ...], part: SlowerPart) -> None:
    assert slower_part_of(timed(*verdicts)) == part


@pytest.mark.parametrize(
    ("passed", "part"),
    [
        ((True, True, True), ""),
        ((False, False, True), "runtime"),
        ((False, True, False), "generated code"),
        ((False, False, False), "both"),
        ((False, None, None), "not separated"),
        ((None, None, None), ""),
    ],
)
def test_the_part_with_other_numbers(passed: tuple[bool | None, ...], part: SlowerPart) -> None:
    made = [
        SidesComparison(
            sides=sides,
            same_code=False,
            numbers=ErrorResult(against="", passed=one, max_abs_error=0.0, max_rel_error=0.0),
        )
        for sides, one in zip(SIDES, passed, strict=True)
        if one is not None
    ]
    assert differing_part_of(made) == part
