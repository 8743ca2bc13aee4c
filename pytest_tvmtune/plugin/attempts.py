"""The state of an item: each attempt begins it and concludes it, with an outcome.

Some plugins run a failed test again in the same session (pytest-rerunfailures, flaky). The last
attempt counts, in pytest and in all reports.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import pytest

from pytest_tvmtune.core.errors import OptionError
from pytest_tvmtune.core.settings.options import CaseOptions
from pytest_tvmtune.plugin.collecting.baseline_identity import function_origin, shared_baseline
from pytest_tvmtune.plugin.collecting.marks import (
    mark_problem,
    marks_of,
    options_of,
    same_marks,
    wrong_mark,
)
from pytest_tvmtune.plugin.state import ITEM_STATE, STATE, ItemOrigin, ItemState

if TYPE_CHECKING:
    from pytest_tvmtune.core.results.case_result import CaseResult


@dataclass(kw_only=True)
class _Earlier:
    """The earlier attempts of an item. findings: by the name of the case."""

    attempts: int = 0
    findings: dict[str, list[str]] = field(default_factory=dict)


_EARLIER = pytest.StashKey[_Earlier]()


def begin(item: pytest.Item, options: CaseOptions, origin: ItemOrigin) -> ItemState:
    """Return the state of an item that begins to run. Fails an item that can't run."""
    if shared := shared_baseline(item):
        pytest.fail(shared, pytrace=False)
    if (problem := item.config.stash[STATE].target_problems.get(options.target)) is not None:
        said = f"{origin.sidecar}: {problem}" if origin.sidecar else mark_problem(item, problem)
        pytest.fail(said, pytrace=False)
    adjusted = item.config.stash[STATE].adjust_options(options)
    state = ItemState(options=adjusted, origin=origin, marks=tuple(marks_of(item)))
    item.stash[ITEM_STATE] = state
    return state


def begin_function(item: pytest.Function) -> CaseOptions:
    """Return the options of a test function's item, and begin its state, or fail the item."""
    try:
        options = options_of(item, item.config.stash[STATE].run)
    except OptionError as error:
        raise wrong_mark(item, error) from None
    assert options is not None, "what is left out is skipped"
    begin(item, options, function_origin(item))
    return options


def check_marks(item: pytest.Item, state: ItemState) -> None:
    """Fail a test that was marked while it ran, when the marker has no effect."""
    if not same_marks(marks_of(item), state.marks):
        pytest.fail(
            f"{item.nodeid}: the marker tvm_tune was added while the test ran, when it has no "
            "effect: put it on the test, on its class or module, or in pytest.param(..., "
            "marks=...), or add it in pytest_collection_modifyitems of a conftest.py",
            pytrace=False,
        )


def conclude(item: pytest.Item, state: ItemState) -> None:
    """At the end of a test, fail it if a missing check or an unknown value requires that."""
    from pytest_tvmtune.stages import pipeline

    check_marks(item, state)
    findings = [finding for run in state.runs for finding in pipeline.conclude(run)]
    if findings:
        pytest.fail("\n".join(findings), pytrace=False)


def note_phase(state: ItemState, report: pytest.TestReport) -> None:
    """Note the outcome of a phase of a test, in pytest's words."""
    state.passed = state.passed and report.passed
    if report.failed:
        state.outcome = "failed"
    elif state.outcome in {"failed", "xfailed"}:
        return
    elif hasattr(report, "wasxfail"):
        state.outcome = "xfailed" if report.skipped else "xpassed"
    elif report.skipped:
        state.outcome = "skipped"


def finished_cases(item: pytest.Item, state: ItemState) -> list[CaseResult]:
    """Return the cases of an attempt that has ended, with the findings of earlier attempts."""
    earlier = item.stash.setdefault(_EARLIER, _Earlier())
    earlier.attempts += 1
    finished = []
    for result in state.results:
        known = earlier.findings.setdefault(result.name, [])
        finished.append(
            replace(
                result,
                outcome=state.outcome,
                attempts=earlier.attempts,
                earlier_findings=list(known),
            )
        )
        known += result.findings
    return finished
