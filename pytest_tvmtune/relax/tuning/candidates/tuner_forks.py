"""Processes forked from a server that has TVM and the intrinsics loaded and never ran a kernel.

A builder's candidate and the measuring runner start in milliseconds there and import nothing. The
server is itself forked, as long as the tuner is a fork that has one thread yet, or else begun anew.
"""

from __future__ import annotations

import multiprocessing
import resource
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any

from pytest_tvmtune.machine.fingerprint import cgroup_memory_bytes, usable_cores
from pytest_tvmtune.processes.fork_server import (
    ForkServer,
    ServerRole,
    begin_fork,
    begin_interpreter,
    has_one_thread,
)
from pytest_tvmtune.processes.forking import ForkedProcess
from pytest_tvmtune.processes.linux_process import name_process
from pytest_tvmtune.processes.setup_modules import setup_in_use
from pytest_tvmtune.relax.installation.tvm_process import import_setup, leave_out_torch

# What a process may take beyond what it has when it starts, as a share of the memory that is free.
_MEMORY_SHARE = 0.5
_LEAST_MEMORY_BYTES = 1 << 30
# For a fork: whatever kills the server may kill the next one too.
_MOST_ATTEMPTS = 4


@dataclass(frozen=True, kw_only=True)
class _TunerServer:
    """The tuner's server. kind: the target's; memory_bytes: for each fork."""

    kind: str
    memory_bytes: int
    server: ForkServer


_servers: list[_TunerServer] = []


def start_server(kind: str, *, memory_bytes: int | None = None) -> None:
    """Start the server now, so that it loads what it needs while the tuner does.

    Args:
        kind: The target's, whose intrinsics it loads.
        memory_bytes: Memory that each fork may take in addition to its memory at the start; None:
            half of the memory that is free now, divided by the builders at work.

    """
    if memory_bytes is None:
        import psutil

        free = psutil.virtual_memory().available
        free = min(free, cgroup_memory_bytes() or free)
        share = int(free * _MEMORY_SHARE) // usable_cores()
        memory_bytes = max(_LEAST_MEMORY_BYTES, share)
    role = ServerRole(
        name="tvmtune-forks",
        load=_load_tuner,
        arguments=(kind, setup_in_use()),
        run_in_fork=_call_function,
    )
    server = begin_fork(role) if has_one_thread() else begin_interpreter(role)
    _servers[:] = [_TunerServer(kind=kind, memory_bytes=memory_bytes, server=server)]


def fork(
    name: str, function: Callable[..., None], *arguments: Any
) -> tuple[ForkedProcess, Connection[Any, Any]]:
    """Call a function in a process that ends with this process and keeps to the memory limit.

    Args:
        name: What `ps` and `top` show, at most 15 characters.
        function: Is imported by its name, and called with its end of a connection.
        *arguments: Are given to it after that.

    Returns:
        The process, which has begun, and the other end of the connection.

    Raises:
        OSError: No process can be had.

    """
    connection, other = multiprocessing.Pipe()
    with other:
        for attempts_left in reversed(range(_MOST_ATTEMPTS)):
            known = _servers[0]
            request = {"name": name, "memory_bytes": known.memory_bytes}
            try:
                process = known.server.fork(request, other.fileno())
                break
            except OSError:  # it was killed since
                if not attempts_left:
                    raise
                start_server(known.kind, memory_bytes=known.memory_bytes)
    with suppress(OSError):  # it was killed already: whoever waits for it will see
        connection.send((function, arguments))
    return process, connection


def _load_tuner(kind: str, setup: Sequence[str]) -> None:
    leave_out_torch()
    import_setup(setup)
    import pytest_tvmtune.relax.tuning.preload  # noqa: F401
    from pytest_tvmtune.relax.tuning.intrinsics import import_intrinsics

    import_intrinsics(kind)


def _call_function(request: dict[str, Any], fd: int) -> None:
    name_process(request["name"])
    _limit_memory(request["memory_bytes"])
    with Connection(fd) as connection:
        function, arguments = connection.recv()
        function(connection, *arguments)


def _limit_memory(more_bytes: int) -> None:
    """Let an allocation fail rather than the whole machine run out of memory."""
    import psutil

    limit = psutil.Process().memory_info().vms + more_bytes
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    if hard != resource.RLIM_INFINITY:
        limit = min(limit, hard)
    resource.setrlimit(resource.RLIMIT_AS, (limit, hard))
