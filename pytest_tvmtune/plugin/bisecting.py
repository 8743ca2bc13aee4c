"""A plugin that only `tvmtune bisect` and `bisect-step` load: each commit is tested alike.

Markers and ini files change from commit to commit, so the command line takes precedence, and no
slowdown is accepted. Nothing is written into the work tree, since git couldn't check out the next
commit then.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Generator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from pytest_tvmtune.plugin.state import ITEM_STATE, STATE, is_worker

if TYPE_CHECKING:
    from pytest_tvmtune.core.results.comparison_result import GoldenState
    from pytest_tvmtune.core.settings.options import CaseOptions
    from pytest_tvmtune.core.settings.parsing import Layer

# With --tvm-update, such golden outputs fail no test.
_OTHER_NUMBERS: tuple[GoldenState, ...] = ("differs", "unusable")
# Name of a setting -> field of CaseOptions.
_FROM_THE_COMMAND_LINE = {
    "threshold": "threshold",
    "max_time": "max_time_s",
    "trials": "trials",
    "max_trials_per_task": "max_trials_per_task",
    "max_tuning_time": "max_tuning_time_s",
    "num_threads": "num_threads",
}


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    """Set what a user's ini file or `addopts` may set otherwise, before the options are read."""
    from pytest_tvmtune.stages.bisecting.tested_commit import ACCEPT_VARIABLE

    config.option.tvm_strict = False
    config.option.tvm_update = ACCEPT_VARIABLE in os.environ
    config.option.tvm_update_new = False
    config.option.tvm_update_anchor = False
    if not is_worker(config):
        from pytest_tvmtune.processes.linux_process import die_with_parent

        die_with_parent()


def pytest_sessionstart(session: pytest.Session) -> None:
    """Let the command line take precedence over markers."""
    state = session.config.stash[STATE]
    command_line = state.run.layers[0]
    state.adjust_options = partial(_as_bisected, command_line, _copier(state.run.store_dir))


def _as_bisected(
    command_line: Layer, copied: Callable[[Path], Path], options: CaseOptions
) -> CaseOptions:
    given: dict[str, Any] = {
        field: command_line[name]
        for name, field in _FROM_THE_COMMAND_LINE.items()
        if command_line.get(name) is not None
    }
    options = replace(options, **given)
    untuned = options.trials == 0 and options.tuning == "never"
    return replace(
        options,
        threshold=replace(options.threshold, accepted_ratio=0.0),
        acceptance=None,
        # It says nothing about the other commits.
        max_latency=(),
        work_dir=copied(options.work_dir) if options.work_dir and not untuned else None,
    )


def _copier(store_dir: Path) -> Callable[[Path], Path]:
    """Return a function that copies a work_dir, since records are also exported to it."""

    def copied(work_dir: Path) -> Path:
        from pytest_tvmtune.store.layout import open_store

        store = open_store(store_dir)
        store.scratch.mkdir(exist_ok=True)
        copy = Path(tempfile.mkdtemp(dir=store.scratch))
        if work_dir.is_dir():
            shutil.copytree(work_dir, copy, dirs_exist_ok=True)
        return copy

    return copied


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Write no golden outputs, and accept no baseline whose golden outputs would be replaced."""
    state = item.stash.get(ITEM_STATE, None)
    if state is not None and call.when == "call":
        for run in state.runs:
            run.golden_proposal = None
            if run.result.golden is not None and run.result.golden.state in _OTHER_NUMBERS:
                run.baseline_proposal = None
    return (yield)
