"""From finished tests to reports: end-of-test rules, baselines, summary, files."""

from __future__ import annotations

import os
import time
from collections.abc import Generator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pytest_tvmtune.core.errors import StoreError, TvmTuneError
from pytest_tvmtune.core.settings import REPORTS
from pytest_tvmtune.plugin.state import ITEM_STATE, STATE, ItemState, State, is_worker

# Set by a worker that could not start, read by the controller.
WORKER_ERROR = "tvmtune_usage_error"
# Told by the controller: a worker is given its paths as if they had been typed.
MODEL_FOLDERS = "tvmtune_model_folders"
_CASES = "tvmtune_cases"
_STARTED = "tvmtune_started_s"


@pytest.hookimpl(wrapper=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> Generator[None, object, object]:
    """Apply the rules that hold once a test function has returned."""
    outcome = yield
    state = pyfuncitem.stash.get(ITEM_STATE, None)
    if state is not None:
        conclude(state)
    return outcome


def conclude(state: ItemState) -> None:
    """Fail a test that has come to its end, where what it did not do or know fails it."""
    findings = [finding for run in state.runs for finding in run.conclude()]
    if findings:
        pytest.fail("\n".join(findings), pytrace=False)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, object, object]:
    """Note that a test did not pass; pytest-retry calls it again without pytest's own report."""
    try:
        return (yield)
    except BaseException:
        if (state := item.stash.get(ITEM_STATE, None)) is not None:
            state.passed = False
        raise


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """After teardown, accept baselines if all passed, and let the cases travel on the report."""
    report = yield
    state = item.stash.get(ITEM_STATE, None)
    if state is None:
        return report
    state.passed = state.passed and report.passed
    state.failed = state.failed or report.failed
    if report.when == "teardown":
        if state.passed:
            _accept(state, report)
        for result in state.results:
            # Neither: skipped, or failed as expected.
            passed_or_skipped = "passed" if state.passed else "skipped"
            result.outcome = "failed" if state.failed else passed_or_skipped
        setattr(report, _CASES, [result.to_json() for result in state.results])
        _add_properties(report, state)
        # Models, sessions and outputs would else stay in memory until pytest ends.
        del item.stash[ITEM_STATE]
    return report


def _add_properties(report: pytest.TestReport, state: ItemState) -> None:
    """Put what JUnit files and other reporters show beside a test where they look for it."""
    from pytest_tvmtune.report.junit import junit_properties

    report.user_properties = [*report.user_properties, *junit_properties(state.results)]


def _accept(state: ItemState, report: pytest.TestReport) -> None:
    try:
        for run in state.runs:
            if run.accept() and run.result.latency is not None:
                run.result.latency = replace(run.result.latency, accepted=True)
    except TvmTuneError as error:
        state.passed, state.failed = False, True
        report.outcome = "failed"
        report.longrepr = f"what this test accepts could not be recorded: {error}"


def started_s(config: pytest.Config) -> float:
    """Return when the session began, in seconds since 1970; a worker was told by its controller."""
    told: float = getattr(config, "workerinput", {}).get(_STARTED, time.time())
    return told


class CaseCollector:
    """Takes the cases off the reports; a plugin object, since logreport is not given the config."""

    def __init__(self, config: pytest.Config) -> None:
        self._config = config

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Keep a finished test's cases; under xdist they come from the workers."""
        if is_worker(self._config):
            return
        state = self._config.stash[STATE]
        for case in getattr(report, _CASES, []):
            from pytest_tvmtune.core.results import CaseResult

            state.results.append(CaseResult.from_json(case))
            self._config.hook.pytest_tvmtune_case_result(config=self._config, result=case)
            state.json_cases.append(case)

    @pytest.hookimpl(optionalhook=True)
    def pytest_configure_node(self, node: Any) -> None:
        """Tell an xdist worker when the session began, and where ONNX files are tests."""
        state = self._config.stash[STATE]
        node.workerinput[_STARTED] = state.started_s
        node.workerinput[MODEL_FOLDERS] = [str(folder) for folder in state.model_folders]

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any) -> None:
        """Hear from an xdist worker that could not start."""
        error = getattr(node, "workeroutput", {}).get(WORKER_ERROR)
        if error:
            self._config.stash[STATE].usage_error = error


@pytest.hookimpl(tryfirst=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """Write reports and history, and make a worker's UsageError the run's."""
    config = session.config
    state = config.stash.get(STATE, None)
    if state is None or is_worker(config):
        return
    if state.usage_error:
        session.exitstatus = pytest.ExitCode.USAGE_ERROR
    if not config.option.collectonly:
        _write_reports(session, state)


def _write_reports(session: pytest.Session, state: State) -> None:
    wanted = {name: getattr(state.run, name) for name in REPORTS}
    paths = {name: path for name, path in wanted.items() if path is not None}
    summary = _step_summary(state)
    if not (paths or summary or state.json_cases):
        return
    from pytest_tvmtune.core.environment import fingerprint
    from pytest_tvmtune.report.files import append_step_summary, write_reports
    from pytest_tvmtune.report.json import make_report

    machine_info = fingerprint().to_json()
    session.config.hook.pytest_tvmtune_machine_info(
        config=session.config, machine_info=machine_info
    )
    report = make_report(state.json_cases, machine_info)
    if state.json_cases:
        state.notes.append(_keep(session.config, state, report))
    if summary is not None:
        try:
            append_step_summary(report, summary)
        except StoreError as error:
            # Nobody asked for it on the command line: no reason to fail a job.
            state.notes.append(f"no step summary: {error}; turn it off with --tvm-step-summary=off")
    problems = write_reports(report, paths)
    if problems:
        # Told in the summary: an exception here would keep other plugins' reports from being made.
        state.usage_error = "\n".join(problems)
        session.exitstatus = pytest.ExitCode.USAGE_ERROR


def _step_summary(state: State) -> Path | None:
    """Return the file of GitHub's job summary, where this is a job that shows one."""
    path = os.environ.get("GITHUB_STEP_SUMMARY")
    if not path or os.environ.get("GITHUB_ACTIONS") != "true":
        return None
    return Path(path) if state.results and state.run.step_summary == "on" else None


def _keep(config: pytest.Config, state: State, report: dict[str, Any]) -> str:
    """Keep a run in the store's history; return what to tell of it."""
    from pytest_tvmtune.store.history import add_run, revision_of
    from pytest_tvmtune.store.layout import open_store

    try:
        store = open_store(state.run.store_dir)
        run, remark = add_run(store, report, revision_of(config.rootpath))
    except TvmTuneError as error:
        return f"this run is not in the history: {error}"
    return f"{remark}\nkept as run {run} (tvmtune history)".lstrip()


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    """Print the summary table and its footer."""
    state = config.stash[STATE]
    if state.usage_error:
        terminalreporter.write_line(f"ERROR: {state.usage_error}", red=True)
    if state.results:
        from pytest_tvmtune.report.terminal import summary_lines

        verbose = config.get_verbosity() > 0
        terminalreporter.section("tvmtune")
        for line in summary_lines(state.results, verbose=verbose):
            terminalreporter.write_line(line)
    for note in state.notes:
        terminalreporter.write_line(note)
