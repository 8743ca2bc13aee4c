"""A server that has TVM loaded and forks a process for each job: milliseconds instead of seconds.

Each process that runs jobs has one; it ends when that process does, however it ends, and its forks
with it.
"""

from __future__ import annotations

import atexit
import importlib
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, NoReturn, Protocol

from pytest_tvmtune.core.clock import monotonic_s
from pytest_tvmtune.core.errors import EnvironmentProblemError
from pytest_tvmtune.processes.forking import (
    ForkedProcess,
    Socket,
    request_fork,
    serve,
    socket_pair,
)
from pytest_tvmtune.processes.interpreters import command, import_path
from pytest_tvmtune.processes.loading import loading
from pytest_tvmtune.processes.setup_modules import setup_in_use
from pytest_tvmtune.processes.worker import (
    die_with_parent,
    name_process,
    run_request,
)
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
    folder: Path,
    log: BinaryIO,
    environment: Mapping[str, str],
    *,
    fresh: bool,
    preload: str,
) -> Process:
    """Start the process that does the request in this folder, in a session of its own.

    log: where what it prints goes. fresh: a new interpreter, not a fork. preload: a module that
    the server imports before it forks, or nothing. Where no server can be had, it is a new
    interpreter too. Raises OSError, and EnvironmentProblemError where the interpreter can't be run.
    """
    with _one_at_a_time:
        while not fresh and (server := _server(folder, environment)) is not None:
            with suppress(OSError):  # it was killed since: another one is begun
                return server.fork(folder, log, environment, preload)
    with _naming_the_interpreter():
        process = subprocess.Popen(
            command("pytest_tvmtune.processes.worker", str(folder), str(os.getpid())),
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    return _Fresh(process=process)


@dataclass(frozen=True, kw_only=True)
class _Fresh:
    """A new interpreter. The clock of its own `wait` stands still where a test has frozen time."""

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
def _naming_the_interpreter() -> Iterator[None]:
    """Turn the error of an interpreter that can't be started into one that says so."""
    advice = (
        "models are compiled and run in new processes of it; "
        "run pytest with an installed Python: python -m pytest"
    )
    if not sys.executable:
        raise EnvironmentProblemError(
            f"sys.executable is {sys.executable!r}: this Python's interpreter isn't known; {advice}"
        )
    try:
        yield
    except OSError as error:
        if error.filename != sys.executable:
            raise
        raise EnvironmentProblemError(
            f"can't start this Python's interpreter {sys.executable}: {error.strerror}; {advice}"
        ) from error


@dataclass(kw_only=True)
class _Server:
    """The server of one process, begun with one set of environment variables and one setup."""

    owner: int
    environment: dict[str, str]
    setup: list[str]
    process: subprocess.Popen[bytes]
    requests: Socket
    has_forked: bool = False
    ended: bool = False

    def fork(
        self, folder: Path, log: BinaryIO, environment: Mapping[str, str], preload: str
    ) -> ForkedProcess:
        """Return a job forked from it. Raises OSError when it has ended."""
        request = {
            "folder": str(folder),
            "variables": {name: text for name, text in environment.items() if _is_of_a_job(name)},
            "cores": _affinity(),
            "path": import_path(),
            "preload": preload,
        }
        try:
            job = request_fork(self.requests, request, log.fileno())
        except OSError:
            self.end()
            raise
        self.has_forked = True
        return job

    def end(self) -> None:
        """End the server, and with it what it has forked."""
        self.ended = True
        self.requests.close()
        if self.owner == os.getpid():
            self.process.kill()
            self.process.wait()


_servers: list[_Server] = []
# Threads of one test may ask at once.
_one_at_a_time = threading.Lock()


def _server(empty: Path, environment: Mapping[str, str]) -> _Server | None:
    """Return this process's server, begun now if need be; None where it can't be had.

    empty: a folder to begin in, in which nothing can shadow a module.
    """
    lasting = {name: value for name, value in environment.items() if not _is_of_a_job(name)}
    setup = setup_in_use()
    if _servers:
        server = _servers[-1]
        same = (server.environment, server.setup) == (lasting, setup)
        if server.owner == os.getpid() and same:
            if not server.ended:
                return server
            if not server.has_forked:
                return None  # TVM can't be imported there: the job itself finds out why
        _servers.pop().end()
    ours, theirs = socket_pair()
    with closing(theirs), _naming_the_interpreter():
        process = subprocess.Popen(
            command("pytest_tvmtune.processes.job_server", str(theirs.fileno()), json.dumps(setup)),
            cwd=empty,
            env=lasting,
            pass_fds=[theirs.fileno()],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
    _servers.append(
        _Server(
            owner=os.getpid(),
            environment=lasting,
            setup=setup,
            process=process,
            requests=ours,
        )
    )
    return _servers[-1]


@atexit.register
def end_servers() -> None:
    """End the servers of this process; the next job begins another one."""
    while _servers:
        _servers.pop().end()


def _is_of_a_job(variable: str) -> bool:
    return variable.startswith(_OF_A_JOB)


def _affinity() -> list[int]:
    return sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []


def main() -> NoReturn:
    """Load what jobs need, then fork them. sys.argv: the socket's number, the setup as JSON."""
    requests = Socket(fileno=int(sys.argv[1]))
    die_with_parent()  # while it imports, it wouldn't hear that nobody can ask any more
    name_process("tvmtune-server")
    loading().begin()
    loading().load_ahead()
    loading().import_setup(json.loads(sys.argv[2]))
    serve(requests, _become_job, prepare=_preload)


def _preload(request: dict[str, Any]) -> None:
    # Where it fails, the job does so, too, and can say why.
    with suppress(Exception):
        if request["preload"]:
            importlib.import_module(request["preload"])


def _become_job(request: dict[str, Any], log: int) -> NoReturn:
    """Take on in a fork what a new interpreter would have been given, and do the request."""
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
    run_request(Path(request["folder"]))
