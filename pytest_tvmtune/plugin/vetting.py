"""A plugin that only `tvmtune vet` loads: it keeps what the run of a suite compiled.

Nothing is tuned, nothing is accepted, and the store is one of `tvmtune vet`.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Generator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from pytest_tvmtune.core.errors import OptionError
from pytest_tvmtune.plugin.state import ITEM_STATE, STATE, ItemState, is_worker

if TYPE_CHECKING:
    from pytest_tvmtune.core.results.case_result import CaseResult
    from pytest_tvmtune.core.settings.options import CaseOptions
    from pytest_tvmtune.core.vetting.vet_report import TestState
    from pytest_tvmtune.relax.vetting.environment_run import EnvironmentCase
    from pytest_tvmtune.stages.case_run import CaseRun
    from pytest_tvmtune.store.artifacts import Manifest

_MOST_WORDS = 300


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    """Set what a user's ini file or `addopts` may set otherwise, before the options are read."""
    config.option.tvm_strict = False
    for name in ("tvm_update", "tvm_update_new", "tvm_update_anchor"):
        setattr(config.option, name, False)
    if not is_worker(config):
        from pytest_tvmtune.processes.linux_process import die_with_parent

        die_with_parent()
        config.pluginmanager.register(_TestOutcomes(config), "tvmtune-vet-tests")


def pytest_sessionstart(session: pytest.Session) -> None:
    """Let no marker ask for trials: stored records are used, and nothing is tuned."""
    session.config.stash[STATE].adjust_options = _as_vetted


def _as_vetted(options: CaseOptions) -> CaseOptions:
    if options.rpc is not None:
        raise OptionError(
            f"vet compares two TVMs on this machine, and these tests run on the device "
            f"{options.rpc}; leave out tvm_rpc, and TVM_TRACKER_HOST of the environment"
        )
    return replace(options, trials=0, tuning="never", work_dir=None)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Keep the cases of a test that has run; the last attempt counts."""
    state = item.stash.get(ITEM_STATE, None)
    if state is not None and call.when == "call":
        _keep_cases(state)
    return (yield)


def _keep_cases(state: ItemState) -> None:
    from pytest_tvmtune.processes.messages import write_message
    from pytest_tvmtune.relax.vetting.environment_run import CASES, FOLDER_VARIABLE

    failed = [one for one in state.results if all(one is not run.result for run in state.runs)]
    for case in (
        *(_environment_case(run) for run in state.runs),
        *(_unopened_case(result, state.options) for result in failed),
    ):
        digest = hashlib.sha256(repr(case.key).encode(errors="replace")).hexdigest()[:16]
        folder = Path(os.environ[FOLDER_VARIABLE]) / CASES / digest
        folder.mkdir(parents=True, exist_ok=True)
        write_message(folder / "case", case)


def _environment_case(run: CaseRun) -> EnvironmentCase:
    import numpy as np

    from pytest_tvmtune.processes.interpreters import import_path
    from pytest_tvmtune.processes.setup_modules import setup_in_use
    from pytest_tvmtune.relax.vetting.environment_run import BuiltCase
    from pytest_tvmtune.stages.job_context import entry_call

    case, built = run.case, None
    if hasattr(run, "loaded"):
        call = entry_call(case)
        built = BuiltCase(
            artifact=run.built.artifact,
            # As plain arrays: files that the processes of a run share end with the run.
            call=replace(
                call,
                params=tuple(np.asarray(array) for array in call.params),
                inputs=tuple(np.asarray(array) for array in call.inputs),
            ),
        )
    return replace(
        _unopened_case(run.result, case.options),
        signature=case.model.signature.to_json(),
        output_names=tuple(case.model.output_names),
        tuned_kernels=0 if built is None else _tuned_kernels(built.artifact.manifest),
        built=built,
        num_threads=case.num_threads,
        path=tuple(import_path()),
        setup=tuple(setup_in_use()),
    )


def _unopened_case(result: CaseResult, options: CaseOptions) -> EnvironmentCase:
    """Return what is known of a case whose model couldn't be opened."""
    from pytest_tvmtune.relax.vetting.environment_run import EnvironmentCase

    return EnvironmentCase(
        nodeid=result.nodeid,
        name=result.name,
        label=result.label,
        prepack=result.prepack,
        findings=tuple(result.findings),
        threshold=options.threshold,
        max_time_s=options.max_time_s,
        timeout_s=options.timeout_s,
        cold_cache=options.cold_cache,
        rtol=options.rtol,
        atol=options.atol,
    )


def _tuned_kernels(manifest: Manifest) -> int:
    return sum(bool(kernel.record) for kernel in manifest.kernels.values())


class _TestOutcomes:
    """Takes the outcome of each test, and writes them when the session ends."""

    def __init__(self, config: pytest.Config) -> None:
        self._config = config
        self._found: dict[str, tuple[TestState, str]] = {}
        self._collected: set[str] = set()

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        self._collected.update(item.nodeid for item in session.items)

    @pytest.hookimpl(optionalhook=True)
    def pytest_xdist_node_collection_finished(self, ids: Sequence[str]) -> None:
        self._collected.update(ids)

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        if report.failed:
            self._found[report.nodeid] = ("error", _last_line(report))

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        state = _state_of(report)
        before = self._found.get(report.nodeid, ("passed", ""))[0]
        # A test that fails when it is called stays failed in its teardown.
        counts = state != "passed" and before not in {"failed", "error"}
        if report.when == "setup" or counts:
            self._found[report.nodeid] = (state, _last_line(report))

    def pytest_sessionfinish(self) -> None:
        from pytest_tvmtune.core.vetting.vet_report import TestOutcome
        from pytest_tvmtune.processes.messages import write_message
        from pytest_tvmtune.relax.installation.tvm_files import tvm_info
        from pytest_tvmtune.relax.vetting.environment_run import (
            FOLDER_VARIABLE,
            RUN_FILE,
            EnvironmentRun,
        )
        from pytest_tvmtune.store.layout import Store

        run = EnvironmentRun(
            tests=tuple(
                TestOutcome(nodeid=nodeid, state=state, message=message)
                for nodeid, (state, message) in sorted(self._found.items())
            ),
            not_run=tuple(sorted(self._collected - set(self._found))),
            tvm=tvm_info(Store(root=self._config.stash[STATE].run.store_dir)),
        )
        write_message(Path(os.environ[FOLDER_VARIABLE]) / RUN_FILE, run)


def _state_of(report: pytest.TestReport) -> TestState:
    if hasattr(report, "wasxfail"):
        return "xfailed" if report.skipped else "xpassed"
    if report.failed:
        return "failed" if report.when == "call" else "error"
    return "skipped" if report.skipped else "passed"


def _last_line(report: Any) -> str:
    """Return what a report says of a failure or a skip, in a line."""
    if isinstance(report.longrepr, tuple):
        return str(report.longrepr[2])
    crash = getattr(getattr(report.longrepr, "reprcrash", None), "message", "")
    lines = (crash or report.longreprtext).strip().splitlines()
    return lines[0 if crash else -1].strip()[:_MOST_WORDS] if lines else ""
