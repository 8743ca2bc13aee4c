"""Processes of jobs: forked from a server that has TVM loaded, or new interpreters.

Each process that runs jobs has one server, which ends when that process does, however it ends.
"""

from __future__ import annotations

import atexit
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, NoReturn, Protocol

from pytest_tvmtune.core.clock import monotonic_s
from pytest_tvmtune.core.errors import EnvironmentProblemError
from pytest_tvmtune.processes.fork_server import ForkServer, ServerRole, begin_interpreter
from pytest_tvmtune.processes.interpreters import (
    command,
    command_elsewhere,
    command_with_path,
    import_path,
)
from pytest_tvmtune.processes.job import Job, OtherInterpreter, Where
from pytest_tvmtune.processes.loading import loading
from pytest_tvmtune.processes.setup_modules import setup_in_use
from pytest_tvmtune.processes.worker import run_request
from pytest_tvmtune.store.locks import FOLDER_VARIABLE

# They change from one job to the next, and nothing that is preloaded reads them.
_OF_A_JOB = ("PYTEST_", "TVMTUNE_KEY", "TVM_NUM_THREADS", "TMPDIR", FOLDER_VARIABLE)
_POLL_S = 0.01


class Process(Protocol):
    """What waiting for a job takes; `subprocess.Popen` has it."""

    @property
    def pid(self) -> int: ...  # noqa: D102

    def poll(self) -> int | None: ...  # noqa: D102

    def wait(self, timeout: float | None = None) -> int: ...  # noqa: D102


def start_job(
    job: Job[Any, Any, Any],
    folder: Path,
    log: BinaryIO,
    environment: Mapping[str, str],
    where: Where,
) -> Process:
    """Start the process that does a job, in a new session.

    Without a server, it is a new interpreter instead of a fork.

    Args:
        job: What it does.
        folder: Where the request is, and the answer will be.
        log: Where what it prints goes.
        environment: Its environment variables.
        where: What kind of process it is.

    Returns:
        The process, which has begun.

    Raises:
        OSError: There is no room for it.
        EnvironmentProblemError: The interpreter can't be started.

    """
    with _one_at_a_time:
        while where == "forked" and (server := _server(folder, environment)) is not None:
            with suppress(OSError):  # it was killed since: another one is begun
                return server.fork(_fork_request(job, folder, environment), log.fileno())
    interpreter = _interpreter(where)
    setup = list(where.setup) if isinstance(where, OtherInterpreter) else setup_in_use()
    with _naming(interpreter):
        process = subprocess.Popen(
            _worker_command(where, str(folder), job.name, json.dumps(setup)),
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    return _NewInterpreter(process=process)


def _interpreter(where: Where) -> str:
    if isinstance(where, OtherInterpreter):
        return str(where.python)
    return str(where) if isinstance(where, Path) else sys.executable


def _worker_command(where: Where, *words: str) -> list[str]:
    worker, words = "pytest_tvmtune.processes.worker", (*words, str(os.getpid()))
    if isinstance(where, OtherInterpreter):
        return command_with_path(where.python, where.path, worker, *words)
    if isinstance(where, Path):
        return command_elsewhere(where, worker, *words)
    return command(worker, *words)


def _fork_request(
    job: Job[Any, Any, Any], folder: Path, environment: Mapping[str, str]
) -> dict[str, Any]:
    return {
        "job": job.name,
        "preload": job.preload,
        "folder": str(folder),
        "variables": {name: text for name, text in environment.items() if _is_of_a_job(name)},
        "cores": sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else [],
        "path": import_path(),
        "setup": setup_in_use(),
    }


@dataclass(frozen=True, kw_only=True)
class _NewInterpreter:
    """Its own process. The clock of Popen's `wait` stops if a test has frozen time."""

    process: subprocess.Popen[bytes]

    @property
    def pid(self) -> int:
        return self.process.pid

    def poll(self) -> int | None:
        return self.process.poll()

    def wait(self, timeout: float | None = None) -> int:
        end_s = None if timeout is None else monotonic_s() + timeout
        while (code := self.process.poll()) is None:
            if end_s is not None and monotonic_s() >= end_s:
                raise subprocess.TimeoutExpired(self.process.args, timeout or 0.0)
            time.sleep(_POLL_S)
        return code


@contextmanager
def _naming(interpreter: str) -> Iterator[None]:
    """Replace the error of an interpreter that can't be started by a message that says so."""
    advice = (
        "models are compiled and run in new processes of this interpreter; run pytest with an "
        "installed Python: python -m pytest"
    )
    if not interpreter:
        raise EnvironmentProblemError(
            f"sys.executable is {interpreter!r}, so this Python's interpreter is not known; "
            f"{advice}"
        )
    try:
        yield
    except OSError as error:
        if error.filename != interpreter:
            raise
        whose = "this Python's interpreter" if interpreter == sys.executable else "the interpreter"
        raise EnvironmentProblemError(
            f"can't start {whose} {interpreter}: {error.strerror}; {advice}"
        ) from error


@dataclass(frozen=True, kw_only=True)
class _JobServer:
    """The server of one process, begun with one set of environment variables and one setup."""

    environment: dict[str, str]
    setup: list[str]
    server: ForkServer


_servers: list[_JobServer] = []
# Threads of one test may ask at once.
_one_at_a_time = threading.Lock()


def _server(empty: Path, environment: Mapping[str, str]) -> ForkServer | None:
    """Return this process's server, begun now if need be; None where it can't be had.

    empty: a folder to begin in, in which nothing can shadow a module.
    """
    lasting = {name: value for name, value in environment.items() if not _is_of_a_job(name)}
    setup = setup_in_use()
    if _servers:
        known = _servers[-1]
        same = (known.environment, known.setup) == (lasting, setup)
        if known.server.owner == os.getpid() and same:
            if not known.server.ended:
                return known.server
            if not known.server.has_forked:
                return None  # TVM can't be imported there: the job itself finds out why
        _servers.pop().server.end()
    role = ServerRole(
        name="tvmtune-server", load=_load_tvm, arguments=(setup,), run_in_fork=_become_job
    )
    with _naming(sys.executable):
        server = begin_interpreter(
            role,
            cwd=empty,
            env=lasting,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
    _servers.append(_JobServer(environment=lasting, setup=setup, server=server))
    return server


@atexit.register
def end_servers() -> None:
    """End the servers of this process; the next job begins a new server."""
    while _servers:
        _servers.pop().server.end()


def _is_of_a_job(variable: str) -> bool:
    return variable.startswith(_OF_A_JOB)


def _load_tvm(setup: Sequence[str]) -> None:
    loading().begin()
    loading().load_ahead()
    loading().import_setup(setup)


def _become_job(request: dict[str, Any], log: int) -> NoReturn:
    """Take on in a fork what a new interpreter would have been given, and do the job."""
    os.setsid()
    os.dup2(log, 1)
    os.dup2(log, 2)
    os.close(log)
    os.chdir(request["folder"])
    sys.path[:] = request["path"]
    for variable in filter(_is_of_a_job, list(os.environ)):
        del os.environ[variable]
    os.environ.update(request["variables"])
    tempfile.tempdir = None  # what was found without them
    if request["cores"]:
        os.sched_setaffinity(0, request["cores"])
    run_request(Path(request["folder"]), request["job"], request["setup"])
