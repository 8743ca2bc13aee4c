"""The state of the plugin between hooks, in the stash of the config and of each item."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from pytest_tvmtune.core.errors import OptionError
from pytest_tvmtune.core.gating.item_decisions import ItemDecisions
from pytest_tvmtune.core.settings.options import CaseOptions, RunOptions
from pytest_tvmtune.core.settings.target_spec import TargetSpec

if TYPE_CHECKING:
    from pytest_tvmtune.core.results.case_result import CaseResult, Outcome
    from pytest_tvmtune.stages.case import RunContext
    from pytest_tvmtune.stages.case_run import CaseRun


@dataclass(frozen=True, kw_only=True)
class FinishedCase:
    """A case that goes into the reports. json: its result as JSON values, with keys of hooks."""

    result: CaseResult
    json: dict[str, Any]


@dataclass(kw_only=True)
class State:
    """The state of a pytest process.

    Attributes:
        run: The options of the run.
        started_s: The start of the session, in seconds since 1970; with xdist, the controller's.
        model_folders: The folders below which ONNX files are tests by default.
        has_python: Whether a folder has Python files, so its ONNX files are no tests.
        left_alone: ONNX files that no rule makes tests.
        run_context: The values that all cases share; None until a marked test is collected.
        canonical_targets: Each target in its canonical form.
        target_problems: The reasons why tests that are pinned to a target can't run.
        sources: The parameter ids of the tests that have the same baseline.
        gated: By the file of a baseline, the first test that was compared with it, and the hash of
            the test's model.
        wanted: The options of each marked test.
        finished: In the process that reports, by a test's id and its xdist worker, the cases of
            the last attempt of each item with that id.
        failed_tests: In the process that reports, the tests that failed, by id and xdist worker,
            and the files that pytest couldn't collect.
        usage_error: The reason why an xdist worker couldn't start, or a report couldn't be
            written.
        notes: Lines of the summary that fail no test.
        details: Lines of the summary with -v.
        adjust_options: Returns the options that a test really gets, from those of its markers.
    """

    run: RunOptions
    started_s: float
    model_folders: tuple[Path, ...] = ()
    has_python: dict[Path, bool] = field(default_factory=dict)
    left_alone: list[Path] = field(default_factory=list)
    run_context: RunContext | None = None
    canonical_targets: dict[TargetSpec, str] = field(default_factory=dict)
    target_problems: dict[TargetSpec, OptionError] = field(default_factory=dict)
    sources: dict[tuple[str, ...], list[tuple[str, ...]]] = field(default_factory=dict)
    gated: dict[str, tuple[str, str]] = field(default_factory=dict)
    wanted: list[CaseOptions] = field(default_factory=list)
    finished: dict[tuple[str, str], list[list[FinishedCase]]] = field(default_factory=dict)
    failed_tests: set[tuple[str, str]] = field(default_factory=set)
    usage_error: str | None = None
    notes: list[str] = field(default_factory=list)
    details: list[str] = field(default_factory=list)
    adjust_options: Callable[[CaseOptions], CaseOptions] = lambda options: options

    @property
    def cases(self) -> list[FinishedCase]:
        """Each case of the last attempt of each test."""
        return [case for items in self.finished.values() for cases in items for case in cases]


@dataclass(frozen=True, kw_only=True)
class ItemOrigin:
    """The item of a case. It gives the case its default name, and the baseline its identity.

    identity_path: relative to the rootdir, with forward slashes. params: the user's
    parametrization ids. sidecar: the path of a model file's sidecar, "" for a test function.
    """

    nodeid: str
    path: Path
    identity_path: str
    name: str
    cls: str = ""
    function: str = ""
    params: str = ""
    sidecar: str = ""


@dataclass(kw_only=True)
class ItemState:
    """An attempt to run an item: its options, its cases, and its outcome.

    marks: the markers that its options come from. results: the result of each call of `tvm_tune`.
    runs: the calls whose model could be opened. decisions: of all calls. passed: whether all phases
    passed. outcome: pytest's word for the test.
    """

    options: CaseOptions
    origin: ItemOrigin
    runs: list[CaseRun] = field(default_factory=list)
    results: list[CaseResult] = field(default_factory=list)
    decisions: ItemDecisions = field(default_factory=ItemDecisions)
    marks: tuple[pytest.Mark, ...] = ()
    passed: bool = True
    outcome: Outcome = "passed"


STATE = pytest.StashKey[State]()
ITEM_STATE = pytest.StashKey[ItemState]()


def is_worker(config: pytest.Config) -> bool:
    """Whether this process is an xdist worker, which runs tests but writes no reports."""
    return hasattr(config, "workerinput")
