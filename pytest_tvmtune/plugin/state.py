"""What the plugin keeps between hooks: in the config's stash and in each item's."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from pytest_tvmtune.core.options import CaseOptions, RunOptions

if TYPE_CHECKING:
    from pytest_tvmtune.core.results import CaseResult
    from pytest_tvmtune.plugin.run import Run
    from pytest_tvmtune.runner.case import Workshop


@dataclass(kw_only=True)
class State:
    """One per pytest process.

    workshop, canonical_targets, wanted (what each marked test is told to do): known once the first
    marked test was collected. results: every finished case, in the process that reports;
    json_cases: the same, with what hooks added.
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
    workshop: Workshop | None = None
    canonical_targets: list[str] = field(default_factory=list)
    wanted: list[CaseOptions] = field(default_factory=list)
    results: list[CaseResult] = field(default_factory=list)
    json_cases: list[dict[str, Any]] = field(default_factory=list)
    usage_error: str | None = None
    notes: list[str] = field(default_factory=list)


@dataclass(frozen=True, kw_only=True)
class Origin:
    """Which item a case is of: where the case's default name and its baseline's identity come from.

    params: the user's own parametrization ids. sidecar: where a model file's options stand, "" for
    a test function.
    """

    nodeid: str
    path: Path
    rootdir: Path
    name: str
    cls: str = ""
    function: str = ""
    params: str = ""
    sidecar: str = ""


@dataclass(kw_only=True)
class ItemState:
    """One per test item: what it was told, what it did, whether all phases passed or one failed.

    results: of every call of `tvm_tune`; runs: of those whose model could be opened.
    """

    options: CaseOptions
    origin: Origin
    runs: list[Run] = field(default_factory=list)
    results: list[CaseResult] = field(default_factory=list)
    passed: bool = True
    failed: bool = False


STATE = pytest.StashKey[State]()
ITEM_STATE = pytest.StashKey[ItemState]()


def is_worker(config: pytest.Config) -> bool:
    """Whether this process is an xdist worker: it runs tests but reports nothing itself."""
    return hasattr(config, "workerinput")
