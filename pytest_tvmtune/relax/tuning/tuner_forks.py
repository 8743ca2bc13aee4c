"""Processes forked from a server that has TVM and the intrinsics loaded and never ran a kernel.

A builder's candidate and the measuring runner start in milliseconds there and import nothing. The
server is itself forked, as long as the tuner is a fork that has one thread yet, or else begun anew.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import resource
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing, suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, NoReturn

import psutil

from pytest_tvmtune.machine.fingerprint import cgroup_memory_bytes, usable_cores
from pytest_tvmtune.processes.forking import (
    ForkedProcess,
    Socket,
    close_all_but,
    ends_here,
    flush_output,
    request_fork,
    serve,
    socket_pair,
)
from pytest_tvmtune.processes.interpreters import command
from pytest_tvmtune.processes.setup_modules import setup_in_use
from pytest_tvmtune.processes.worker import (
    die_with_parent,
    name_process,
)
from pytest_tvmtune.relax.installation.tvm_process import import_setup, leave_out_torch

# What a process may take beyond what it has when it starts, as a share of the memory that is free.
_MEMORY_SHARE = 0.5
_LEAST_MEMORY_BYTES = 1 << 30
# For a fork: whatever kills the server may kill the next one too.
_MOST_ATTEMPTS = 4


@dataclass(frozen=True, kw_only=True)
class _Server:
    """The tuner's server. kind: the target's; memory_bytes: for each fork."""

    kind: str
    memory_bytes: int
    requests: Socket


_servers: list[_Server] = []


def start_server(kind: str, *, memory_bytes: int | None = None) -> None:
    """Start the server now, so that it loads what it needs while the tuner does.

    kind: the target's, whose intrinsics it loads. memory_bytes: what each fork may take beyond
    what it starts with; None: half of what is free now, divided by the builders at work.
    """
    if memory_bytes is None:
        free = psutil.virtual_memory().available
        free = min(free, cgroup_memory_bytes() or free)
        share = int(free * _MEMORY_SHARE) // usable_cores()
        memory_bytes = max(_LEAST_MEMORY_BYTES, share)
    ours, theirs = socket_pair()
    with closing(theirs):
        _begin(kind, memory_bytes, theirs)
    _servers[:] = [_Server(kind=kind, memory_bytes=memory_bytes, requests=ours)]


def fork(
    name: str, function: Callable[..., None], *arguments: Any
) -> tuple[ForkedProcess, Connection[Any, Any]]:
    """Return a running process that calls `function(connection, *arguments)`, and the other end.

    name: what `ps` and `top` show, at most 15 characters. The function is imported by its name.
    The process is bound to this one's life and to the server's memory limit. Raises OSError.
    """
    connection, other = multiprocessing.Pipe()
    with other:
        for attempts_left in reversed(range(_MOST_ATTEMPTS)):
            server = _servers[0]
            try:
                process = request_fork(server.requests, {"name": name}, other.fileno())
                break
            except OSError:  # it was killed since
                if not attempts_left:
                    raise
                start_server(server.kind, memory_bytes=server.memory_bytes)
    with suppress(OSError):  # it was killed already: whoever waits for it will see
        connection.send((function, arguments))
    return process, connection


def _begin(kind: str, memory_bytes: int, requests: Socket) -> None:
    if not _has_one_thread():
        number = requests.fileno()
        setup = json.dumps(setup_in_use())
        subprocess.Popen(
            command(__name__, str(number), kind, str(memory_bytes), setup),
            pass_fds=[number],
            stdin=subprocess.DEVNULL,
        )
        return
    tuner = os.getpid()
    flush_output()
    if os.fork() == 0:
        with ends_here():
            if os.getppid() == tuner:
                close_all_but(requests.fileno())
                _serve(requests, kind, memory_bytes)


def _has_one_thread() -> bool:
    tasks = Path("/proc/self/task")
    return tasks.is_dir() and len(list(tasks.iterdir())) == 1


def _serve(requests: Socket, kind: str, memory_bytes: int) -> NoReturn:
    die_with_parent()  # while it imports, it wouldn't hear of the tuner's death
    name_process("tvmtune-forks")
    leave_out_torch()
    import pytest_tvmtune.relax.tuning.preload  # noqa: F401
    from pytest_tvmtune.relax.tuning.intrinsics import import_intrinsics

    import_intrinsics(kind)

    def run_in_fork(request: dict[str, Any], fd: int) -> None:
        name_process(request["name"])
        _limit_memory(memory_bytes)
        with Connection(fd) as connection:
            function, arguments = connection.recv()
            function(connection, *arguments)

    serve(requests, run_in_fork)


def _limit_memory(more_bytes: int) -> None:
    """Let an allocation fail rather than the whole machine run out of memory."""
    limit = psutil.Process().memory_info().vms + more_bytes
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    if hard != resource.RLIM_INFINITY:
        limit = min(limit, hard)
    resource.setrlimit(resource.RLIMIT_AS, (limit, hard))


def main() -> None:
    """Serve. sys.argv: the socket's number, the target's kind, bytes for a fork, the setup."""
    leave_out_torch()
    import_setup(json.loads(sys.argv[4]))
    _serve(Socket(fileno=int(sys.argv[1])), sys.argv[2], int(sys.argv[3]))
