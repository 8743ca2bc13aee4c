"""What the plugin keeps between hooks: in the config's stash and in each item's."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from pytest_tvmtune.core.errors import OptionError
from pytest_tvmtune.core.settings.options import CaseOptions, RunOptions
from pytest_tvmtune.core.settings.target_spec import TargetSpec

if TYPE_CHECKING:
    from pytest_tvmtune.core.results.case_result import CaseResult, Outcome
    from pytest_tvmtune.stages.case import RunContext
    from pytest_tvmtune.stages.case_run import CaseRun


@dataclass(frozen=True, kw_only=True)
class FinishedCase:
    """A case on its way into the reports. json: its result as JSON holds it, with hooks' keys."""

    result: CaseResult
    json: dict[str, Any]


@dataclass(kw_only=True)
class State:
    """One per pytest process.

    workshop, canonical_targets, wanted (what each marked test is told to do): known once the first
    marked test was collected. target_problems: why tests pinned to a target can't run. sources:
    for what names a baseline, the parameter ids of the tests that it would name. gated: by a
    baseline's file, the id of the test that was first compared with it, and its model's hash.
    finished: in the process that reports, by a test's id and xdist worker: the cases of the last
    attempt of each item with that id.
    usage_error: what an xdist worker could not start for, or a report could not be written for.
    notes: what the summary tells beside, and fails nothing.
    started_s: when the session began, in seconds since 1970; under xdist the controller's.
    model_folders: below which ONNX files are tests by default; has_python: whether those that were
    looked at hold Python files, for which they are not; left_alone: the ONNX files that no rule
    made tests.
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
    usage_error: str | None = None
    notes: list[str] = field(default_factory=list)

    @property
    def cases(self) -> list[FinishedCase]:
        """Every case, as the last attempt of its test left it."""
        return [case for items in self.finished.values() for cases in items for case in cases]


@dataclass(frozen=True, kw_only=True)
class ItemOrigin:
    """Which item a case is of: where the case's default name and its baseline's identity come from.

    identity_path: from the rootdir, with forward slashes. params: the user's own parametrization
    ids. sidecar: where a model file's options stand, "" for
    a test function.
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
    """One per attempt to run an item: what it was told, what it did, what it came to.

    marks: that its options were made of. results: of every call of `tvm_tune`; runs: of those whose
    model could be opened. passed: whether all phases did; outcome: pytest's word for the test.
    """

    options: CaseOptions
    origin: ItemOrigin
    runs: list[CaseRun] = field(default_factory=list)
    results: list[CaseResult] = field(default_factory=list)
    marks: tuple[pytest.Mark, ...] = ()
    passed: bool = True
    outcome: Outcome = "passed"


STATE = pytest.StashKey[State]()
ITEM_STATE = pytest.StashKey[ItemState]()


def is_worker(config: pytest.Config) -> bool:
    """Whether this process is an xdist worker: it runs tests but reports nothing itself."""
    return hasattr(config, "workerinput")
