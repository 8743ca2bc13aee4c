"""Stage of `tvmtune vet`: the suite run by pytest in one environment."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pytest_tvmtune.core.errors import EnvironmentProblemError, counted
from pytest_tvmtune.core.vetting.vet_report import TestOutcome
from pytest_tvmtune.processes.logged_process import complaint_in, run_logged
from pytest_tvmtune.processes.messages import read_message
from pytest_tvmtune.processes.other_environment import OtherEnvironment, pytest_command
from pytest_tvmtune.relax.vetting.environment_run import (
    CASES,
    FOLDER_VARIABLE,
    RUN_FILE,
    EnvironmentCase,
    EnvironmentRun,
)
from pytest_tvmtune.store.layout import Store, open_store

_PYTEST_LOG = "pytest.log"
_NO_TESTS = 5
_SENSIBLE = (0, 1, _NO_TESTS)


@dataclass(frozen=True, kw_only=True, eq=False)
class TestedEnvironment:
    """An environment whose pytest has run.

    cases: by their keys. tests: by their ids. tvm: what reports say of its TVM.
    """

    environment: OtherEnvironment
    store: Store
    exit_code: int
    cases: Mapping[tuple[str, str], EnvironmentCase]
    tests: Mapping[str, TestOutcome]
    tvm: Mapping[str, str]


def run_tests(
    environment: OtherEnvironment,
    arguments: Sequence[str],
    folder: Path,
    *,
    records: Path | None = None,
) -> TestedEnvironment:
    """Run pytest in an environment, untuned.

    Args:
        environment: The environment.
        arguments: pytest's, as the user gives them.
        folder: Where its store is.
        records: A store whose records are applied; None: no records are applied.

    Raises:
        EnvironmentProblemError: pytest couldn't run the tests. A failing test is no error.
    """
    store = open_store(folder)
    kept = store.scratch / "vetted"
    shutil.rmtree(kept, ignore_errors=True)
    kept.mkdir(parents=True)
    log_path = store.logs / _PYTEST_LOG
    command = pytest_command(
        environment,
        [
            "-p",
            "pytest_tvmtune.plugin.vetting",
            *arguments,
            "--continue-on-collection-errors",
            "--maxfail=0",
            "--tvm-tuning=never",
            "--tvm-step-summary=off",
            f"--tvm-dir={store.root}",
            # Without records, an empty folder, since the ini file may name one with records.
            f"--tvm-store-fallback={kept if records is None else records}",
        ],
    )
    exit_code = run_logged(command, {**os.environ, FOLDER_VARIABLE: str(kept)}, log_path)
    run_file = kept / RUN_FILE
    if exit_code not in _SENSIBLE or not run_file.is_file():
        raise EnvironmentProblemError(
            f"--{environment.name} {environment.python}: pytest can't run the tests "
            f"(exit code {exit_code}): {complaint_in(log_path)}\nlog: {log_path}"
        )
    cases = [read_message(path, EnvironmentCase) for path in (kept / CASES).glob("*/case")]
    run = read_message(run_file, EnvironmentRun)
    _check(environment, run, log_path)
    return TestedEnvironment(
        environment=environment,
        store=store,
        exit_code=exit_code,
        cases={case.key: case for case in cases},
        tests={one.nodeid: one for one in run.tests},
        tvm=run.tvm,
    )


def _check(environment: OtherEnvironment, run: EnvironmentRun, log_path: Path) -> None:
    """Raise EnvironmentProblemError for a run of another TVM, or of only a part of the tests."""
    what = f"--{environment.name} {environment.python}"
    if (tested := run.tvm["tvm_path"]) and not environment.tvm.samefile(tested):
        raise EnvironmentProblemError(
            f"{what}: the tests import TVM from {tested}, but this environment has TVM in "
            f"{environment.tvm}; run the command in a folder without TVM, and let no conftest.py "
            "and no ini key `pythonpath` put another TVM first"
        )
    if run.not_run:
        raise EnvironmentProblemError(
            f"{what}: pytest stopped before {counted(len(run.not_run), 'test')} ran, such as "
            f"{run.not_run[0]}; leave out options and plugins that stop pytest early\n"
            f"log: {log_path}"
        )
