"""A server that has TVM loaded and forks a process for each job: milliseconds instead of seconds.

It calls no kernel and starts no thread, so that a fork begins as a fresh process does. Each process
that runs jobs has one; it ends when that process does, however it ends, and its forks with it.
"""

from __future__ import annotations

import atexit
import gc
import importlib
import json
import os
import selectors
import signal
import socket
import struct
import subprocess
import sys
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, NoReturn, Protocol

from pytest_tvmtune.relax.child import (
    die_with_parent,
    leave_out_torch,
    name_process,
    run_request,
)

# What most jobs import.
_PRELOADED = ("numpy", "tvm.relax", "pytest_tvmtune.relax.build", "pytest_tvmtune.relax.prepare")
# They change from one job to the next, and nothing that is preloaded reads them.
_OF_A_JOB = ("PYTEST_", "TVMTUNE_KEY", "TVM_NUM_THREADS")
_PART_BYTES = 1 << 16
_NUMBER = struct.Struct("!i")


class Process(Protocol):
    """What waiting for a job takes; `subprocess.Popen` has it."""

    @property
    def pid(self) -> int: ...  # noqa: D102

    def poll(self) -> int | None: ...  # noqa: D102

    def wait(self, timeout: float | None = None) -> int: ...  # noqa: D102


def start_job(
    folder: Path, log: BinaryIO, environment: Mapping[str, str], *, fresh: bool
) -> Process:
    """Start the process that does the request in this folder, in a session of its own.

    log: where what it prints goes. fresh: a new interpreter, not a fork. Where no server can be
    had, it is a new interpreter too. Raises OSError.
    """
    while not fresh and (server := _server(folder, environment)) is not None:
        with suppress(OSError):  # it was killed since: another one is begun
            return server.fork(folder, log, environment)
    return subprocess.Popen(
        [sys.executable, "-m", "pytest_tvmtune.relax.child", str(folder), str(os.getpid())],
        cwd=folder,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )


@dataclass(kw_only=True)
class ForkedJob:
    """A job's process, seen from here: the server tells how it ended."""

    pid: int
    answers: socket.socket
    returncode: int | None = None

    def poll(self) -> int | None:
        """Return its exit code, minus the signal's number if one ended it; None while it runs."""
        with suppress(subprocess.TimeoutExpired):
            return self.wait(0)
        return None

    def wait(self, timeout: float | None = None) -> int:
        """Return its exit code. timeout: seconds. Raises subprocess.TimeoutExpired."""
        if self.returncode is None:
            self.answers.settimeout(timeout)
            try:
                told = self.answers.recv(_NUMBER.size)
            except (BlockingIOError, TimeoutError):
                raise subprocess.TimeoutExpired("job", timeout or 0.0) from None
            # Nothing: the server was killed, and took its forks along.
            self.returncode = _NUMBER.unpack(told)[0] if told else -signal.SIGKILL
            self.answers.close()
        return self.returncode


@dataclass(kw_only=True)
class _Server:
    """The server of one process, begun with one set of environment variables."""

    owner: int
    environment: dict[str, str]
    process: subprocess.Popen[bytes]
    requests: socket.socket
    has_forked: bool = False
    ended: bool = False

    def fork(self, folder: Path, log: BinaryIO, environment: Mapping[str, str]) -> ForkedJob:
        """Return a job forked from it. Raises OSError when it has ended."""
        answers, theirs = socket.socketpair()
        variables = {name: value for name, value in environment.items() if _is_of_a_job(name)}
        request = {"folder": str(folder), "variables": variables, "cores": _affinity()}
        try:
            with theirs:
                socket.send_fds(
                    self.requests,
                    [json.dumps(request).encode() + b"\n"],
                    [theirs.fileno(), log.fileno()],
                )
            told = answers.recv(_NUMBER.size)  # comes when it has imported what jobs need
            if not told:
                raise ConnectionError("the job server ended")
        except OSError:
            answers.close()
            self.end()
            raise
        self.has_forked = True
        return ForkedJob(pid=_NUMBER.unpack(told)[0], answers=answers)

    def end(self) -> None:
        """End the server, and with it what it has forked."""
        self.ended = True
        self.requests.close()
        if self.owner == os.getpid():
            self.process.kill()
            self.process.wait()


_servers: list[_Server] = []


def _server(empty: Path, environment: Mapping[str, str]) -> _Server | None:
    """Return this process's server, begun now if need be; None where it can't be had.

    empty: a folder to begin in, in which nothing can shadow a module.
    """
    lasting = {name: value for name, value in environment.items() if not _is_of_a_job(name)}
    if _servers:
        server = _servers[-1]
        if server.owner == os.getpid() and server.environment == lasting:
            if not server.ended:
                return server
            if not server.has_forked:
                return None  # TVM can't be imported there: the job itself finds out why
        _servers.pop().end()
    ours, theirs = socket.socketpair()
    with theirs:
        process = subprocess.Popen(
            [sys.executable, "-m", "pytest_tvmtune.relax.job_server", str(theirs.fileno())],
            cwd=empty,
            env=lasting,
            pass_fds=[theirs.fileno()],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
    _servers.append(_Server(owner=os.getpid(), environment=lasting, process=process, requests=ours))
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


def _serve(requests: socket.socket) -> NoReturn:
    """Fork a process for each request; end when nobody can ask any more."""
    die_with_parent()  # while it imports, it wouldn't hear that nobody can
    name_process("tvmtune-server")
    leave_out_torch()
    for module in _PRELOADED:
        importlib.import_module(module)
    gc.freeze()  # no collection in a fork copies the pages of what it shares
    jobs: dict[int, socket.socket] = {}
    woken, wakes = socket.socketpair()
    for end in (woken, wakes):
        end.setblocking(False)
    signal.set_wakeup_fd(wakes.fileno(), warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    with selectors.DefaultSelector() as ready:
        ready.register(requests, selectors.EVENT_READ)
        ready.register(woken, selectors.EVENT_READ)
        while True:
            for key, _ in ready.select():
                if key.fileobj is woken:
                    _reap(jobs, woken)
                else:
                    _accept(jobs, requests)


def _accept(jobs: dict[int, socket.socket], requests: socket.socket) -> None:
    message, fds = b"", []
    while not message.endswith(b"\n"):
        part, new_fds, _, _ = socket.recv_fds(requests, _PART_BYTES, 2)
        if not part:
            os._exit(0)
        message += part
        fds += new_fds
    answers, log = socket.socket(fileno=fds[0]), fds[1]
    request = json.loads(message)
    server = os.getpid()
    pid = os.fork()
    if pid == 0:
        die_with_parent()
        if os.getppid() != server:
            os._exit(1)
        _become_job(request, log)
    os.close(log)
    jobs[pid] = answers
    with suppress(OSError):
        answers.send(_NUMBER.pack(pid))


def _become_job(request: dict[str, Any], log: int) -> NoReturn:
    """Take on in a fork what a new interpreter would have been given, and do the request."""
    os.setsid()
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    os.dup2(log, 1)
    os.dup2(log, 2)
    # The sockets too: while one is held here, nobody would hear of the server's death.
    os.closerange(3, os.sysconf("SC_OPEN_MAX"))
    os.chdir(request["folder"])
    for variable in filter(_is_of_a_job, list(os.environ)):
        del os.environ[variable]
    os.environ.update(request["variables"])
    if request["cores"]:
        os.sched_setaffinity(0, request["cores"])
    run_request(Path(request["folder"]))


def _reap(jobs: dict[int, socket.socket], woken: socket.socket) -> None:
    woken.recv(_PART_BYTES)
    while jobs:
        pid, status = os.waitpid(-1, os.WNOHANG)
        if not pid:
            return
        with jobs.pop(pid) as answers, suppress(OSError):
            answers.send(_NUMBER.pack(os.waitstatus_to_exitcode(status)))


if __name__ == "__main__":
    _serve(socket.socket(fileno=int(sys.argv[1])))
