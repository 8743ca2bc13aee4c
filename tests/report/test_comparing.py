"""Two runs next to each other."""

from __future__ import annotations

from dataclasses import replace

from pytest_tvmtune.report.compared_runs import pair_cases, pair_lines
from tests.support.sample_report import sample_case


def test_a_run_of_xdist_groups_is_compared_with_one_without() -> None:
    case = sample_case(0)
    grouped = replace(case, nodeid=f"{case.nodeid}@models")
    (pair,) = pair_cases([grouped], [case])
    assert (pair.nodeid, pair.first, pair.second) == (case.nodeid, grouped, case)


def test_outcomes_other_than_passed_are_shown() -> None:
    case = sample_case(0)
    lines = pair_lines(pair_cases([case], [replace(case, outcome="xfailed")]))
    assert lines[1].endswith("PASS, xfailed")
