"""From finished tests to reports: rules at the end of a test, baselines, summary, files."""

from __future__ import annotations

import os
from collections.abc import Generator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from pytest_tvmtune.core.clock import now_s
from pytest_tvmtune.core.errors import StoreError, TvmTuneError
from pytest_tvmtune.core.settings.table import BY_NAME, REPORTS
from pytest_tvmtune.plugin.attempts import conclude, finished_cases, note_phase
from pytest_tvmtune.plugin.state import (
    ITEM_STATE,
    STATE,
    FinishedCase,
    ItemState,
    State,
    is_worker,
)

if TYPE_CHECKING:
    from pytest_tvmtune.core.results.case_result import CaseResult

# Set by a worker that could not start, read by the controller.
WORKER_ERROR = "tvmtune_usage_error"
# The controller sends them, because a worker gets its paths as if a user had typed them.
MODEL_FOLDERS = "tvmtune_model_folders"
_CASES = "tvmtune_cases"
_STARTED = "tvmtune_started_s"
_INTERRUPTED = {pytest.ExitCode.INTERRUPTED, pytest.ExitCode.INTERNAL_ERROR}


@pytest.hookimpl(wrapper=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> Generator[None, object, object]:
    """Apply the rules for a test function that has returned."""
    outcome = yield
    state = pyfuncitem.stash.get(ITEM_STATE, None)
    if state is not None:
        conclude(pyfuncitem, state)
    return outcome


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, object, object]:
    """Note that a test did not pass; pytest-retry calls it again without pytest's own report."""
    try:
        return (yield)
    except BaseException:
        if (state := item.stash.get(ITEM_STATE, None)) is not None:
            state.passed = False
        raise


# First, so it sees the report after pytest and other plugins have handled an expected failure.
@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """After teardown, accept baselines if all phases passed, and attach the cases to the report."""
    report = yield
    state = item.stash.get(ITEM_STATE, None)
    if state is None:
        return report
    note_phase(state, report)
    if report.when == "teardown":
        if state.passed:
            _accept(state, report)
        from pytest_tvmtune.core.json_codec import to_json_values

        cases = finished_cases(item, state)
        setattr(report, _CASES, to_json_values(cases))
        _add_properties(report, cases)
        # Otherwise, models, sessions, and outputs would stay in memory until pytest ends.
        del item.stash[ITEM_STATE]
    return report


def _add_properties(report: pytest.TestReport, cases: Sequence[CaseResult]) -> None:
    """Add the properties that JUnit files and other reporters show for a test."""
    from pytest_tvmtune.report.junit_properties import junit_properties

    report.user_properties = [*report.user_properties, *junit_properties(cases)]


def _accept(state: ItemState, report: pytest.TestReport) -> None:
    from pytest_tvmtune.stages.pipeline import accept

    try:
        for run in state.runs:
            accept(run)
    except TvmTuneError as error:
        state.passed, state.outcome = False, "failed"
        report.outcome = "failed"
        report.longrepr = f"can't store the baselines or golden outputs of this test: {error}"


def started_s(config: pytest.Config) -> float:
    """Return the start of the session, in seconds since 1970; with xdist, the controller's."""
    started: float = getattr(config, "workerinput", {}).get(_STARTED, now_s())
    return started


class CaseCollector:
    """Takes the cases from the reports. It's a plugin object, because logreport gets no config."""

    def __init__(self, config: pytest.Config) -> None:
        self._config = config

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Keep the cases of a finished test. With xdist, they come from the workers."""
        if is_worker(self._config):
            return
        # xdist's --dist=each runs every test on each worker.
        key = (report.nodeid, getattr(report, "worker_id", ""))
        if report.failed:
            self._config.stash[STATE].failed_tests.add(key)
        cases: list[dict[str, Any]] = getattr(report, _CASES, [])
        if not cases:
            return
        from pytest_tvmtune.core.json_codec import from_json_values
        from pytest_tvmtune.core.results.case_result import CaseResult

        finished = []
        for case in cases:
            result = from_json_values(case, CaseResult)
            self._config.hook.pytest_tvmtune_case_result(config=self._config, result=case)
            finished.append(FinishedCase(result=result, json=case))
        items = self._config.stash[STATE].finished.setdefault(key, [])
        if items and finished[0].result.attempts > 1:
            items[-1] = finished
        else:
            items.append(finished)

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        """Note a file that pytest can't collect."""
        if report.failed and not is_worker(self._config):
            self._config.stash[STATE].failed_tests.add((report.nodeid, ""))

    @pytest.hookimpl(optionalhook=True)
    def pytest_configure_node(self, node: Any) -> None:
        """Send an xdist worker the start of the session, and the folders of model files."""
        state = self._config.stash[STATE]
        node.workerinput[_STARTED] = state.started_s
        node.workerinput[MODEL_FOLDERS] = [str(folder) for folder in state.model_folders]

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any) -> None:
        """Take the error of an xdist worker that couldn't start."""
        error = getattr(node, "workeroutput", {}).get(WORKER_ERROR)
        if error:
            self._config.stash[STATE].usage_error = error


@pytest.hookimpl(tryfirst=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """Write reports and history, and make a worker's UsageError the UsageError of the run."""
    config = session.config
    state = config.stash.get(STATE, None)
    if state is None or is_worker(config):
        return
    if state.usage_error:
        session.exitstatus = pytest.ExitCode.USAGE_ERROR
    if not config.option.collectonly:
        if note := _unknown_dims(state):
            state.notes.append(note)
        _write_reports(session, state)


def _unknown_dims(state: State) -> str:
    """Return a note on dimensions that the run sets and no model has, "" if there are none."""
    known = {name for case in state.cases for name in case.result.dims}
    unknown = [name for name in state.run.dims if name not in known]
    if not state.cases or not unknown:
        return ""
    has = f"they have {', '.join(sorted(known))}" if known else "their dimensions have no names"
    return (
        f"{BY_NAME['dims'].flag}: none of the opened models has a dimension "
        f"{' or '.join(map(repr, unknown))}; {has}"
    )


def _write_reports(session: pytest.Session, state: State) -> None:
    wanted = {name: getattr(state.run, name) for name in REPORTS}
    paths = {name: path for name, path in wanted.items() if path is not None}
    summary = _step_summary(state)
    cases = [case.json for case in state.cases]
    if not (paths or summary or cases):
        return
    from pytest_tvmtune.machine.fingerprint import fingerprint
    from pytest_tvmtune.relax.installation.tvm_files import tvm_info
    from pytest_tvmtune.report.json_report import make_report
    from pytest_tvmtune.report.report_files import append_step_summary, write_reports
    from pytest_tvmtune.store.layout import Store

    machine_info = {**asdict(fingerprint()), **tvm_info(Store(root=state.run.store_dir))}
    session.config.hook.pytest_tvmtune_machine_info(
        config=session.config, machine_info=machine_info
    )
    report = make_report(
        cases,
        machine_info,
        failed_tests=sorted({nodeid for nodeid, _ in state.failed_tests - set(state.finished)}),
        interrupted=session.exitstatus in _INTERRUPTED,
    )
    if cases:
        _keep(session.config, state, report)
    if summary is not None:
        try:
            append_step_summary(report, summary)
        except StoreError as error:
            # No option asked for it, so it doesn't fail a job.
            state.notes.append(
                f"no step summary: {error}; to turn it off, use --tvm-step-summary=off"
            )
    problems = write_reports(report, paths)
    if problems:
        # The summary shows it. An exception here would prevent the reports of other plugins.
        state.usage_error = "\n".join(problems)
        session.exitstatus = pytest.ExitCode.USAGE_ERROR


def _step_summary(state: State) -> Path | None:
    """Return the file of GitHub's job summary, None outside of GitHub Actions."""
    path = os.environ.get("GITHUB_STEP_SUMMARY")
    if not path or os.environ.get("GITHUB_ACTIONS") != "true":
        return None
    return Path(path) if state.finished and state.run.step_summary == "on" else None


def _keep(config: pytest.Config, state: State, report: dict[str, Any]) -> None:
    """Add a run to the history of the store."""
    from pytest_tvmtune.store.layout import open_store
    from pytest_tvmtune.store.run_history import add_run, revision_of

    try:
        store = open_store(state.run.store_dir)
        run, remark = add_run(store, report, revision_of(config.rootpath))
    except TvmTuneError as error:
        state.notes.append(f"this run isn't in the history: {error}")
        return
    if remark:
        state.notes.append(remark)
    state.details.append(f"stored as run {run} (see `tvmtune history`)")


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    """Print the summary table, the counts, and notes."""
    state = config.stash[STATE]
    verbose = config.get_verbosity() > 0
    if state.usage_error:
        terminalreporter.write_line(f"ERROR: {state.usage_error}", red=True)
    if state.finished:
        from pytest_tvmtune.report.terminal_summary import summary_lines

        # Otherwise, an empty line would follow the heading.
        terminalreporter.ensure_newline()
        terminalreporter.section("tvmtune")
        for line in summary_lines([case.result for case in state.cases], verbose=verbose):
            terminalreporter.write_line(line)
    for note in (*state.notes, *(state.details if verbose else ())):
        terminalreporter.write_line(note)
