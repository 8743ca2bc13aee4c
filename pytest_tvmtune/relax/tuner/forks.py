"""Processes forked from a server that has TVM and the intrinsics loaded and never ran a kernel.

A builder's candidate and the measuring runner start in milliseconds there and import nothing.
"""

from __future__ import annotations

import fcntl
import multiprocessing
import os
import resource
import select
from collections.abc import Callable
from multiprocessing import forkserver
from typing import Any

import psutil

from pytest_tvmtune.core.environment import cgroup_memory_bytes, usable_cores
from pytest_tvmtune.relax.child import name_process
from pytest_tvmtune.relax.tuner.preload import KIND_VARIABLE

# What a process may take beyond what it has when it starts, as a share of the memory that is free.
_MEMORY_SHARE = 0.5
_LEAST_MEMORY_BYTES = 1 << 30
_MEMORY_VARIABLE = "PYTEST_TVMTUNE_FORK_BYTES"


def start_server(kind: str, *, memory_bytes: int | None = None) -> None:
    """Start the server now, so that it imports while the tuner does.

    kind: the target's, whose intrinsics it loads. memory_bytes: what each fork may take beyond
    what it starts with; None: half of what is free now, divided by the builders at work.
    """
    if memory_bytes is None:
        free = psutil.virtual_memory().available
        free = min(free, cgroup_memory_bytes() or free)
        share = int(free * _MEMORY_SHARE) // usable_cores()
        memory_bytes = max(_LEAST_MEMORY_BYTES, share)
    os.environ[KIND_VARIABLE] = kind
    os.environ[_MEMORY_VARIABLE] = str(memory_bytes)
    _context().set_forkserver_preload(["pytest_tvmtune.relax.tuner.preload"])
    forkserver.ensure_running()


def fork(name: str, function: Callable[..., None], *arguments: Any) -> Any:
    """Return a running process, forked from the server, that calls `function(*arguments)`.

    name: what `ps` and `top` show, at most 15 characters. It is bound to this process's life and
    to the server's memory limit.
    """
    process = _context().Process(target=_run, args=(name, function, arguments), daemon=True)
    process.start()
    return process


def pipe() -> tuple[Any, Any]:
    """Return both ends of a connection, to give one of them to a fork."""
    one, other = _context().Pipe()
    return one, other


def _context() -> Any:
    return multiprocessing.get_context("forkserver")


def _run(name: str, function: Callable[..., None], arguments: tuple[Any, ...]) -> None:
    _die_with_tuner()
    name_process(name)
    _limit_memory()
    function(*arguments)


def _limit_memory() -> None:
    """Let an allocation fail rather than the whole machine run out of memory."""
    limit = psutil.Process().memory_info().vms + int(os.environ[_MEMORY_VARIABLE])
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    if hard != resource.RLIM_INFINITY:
        limit = min(limit, hard)
    resource.setrlimit(resource.RLIMIT_AS, (limit, hard))


def _die_with_tuner() -> None:
    """Ask the kernel to end this process when the tuner dies, whatever it is doing.

    The forkserver's end can't tell it: each fork holds the pipe that keeps the server alive, so
    one that hangs would keep both for ever. The tuner alone holds the other end of the sentinel;
    when that closes, SIGIO comes, whose default is to terminate.
    Source: fcntl(2), O_ASYNC; multiprocessing.popen_forkserver.
    """
    parent = multiprocessing.parent_process()
    assert parent is not None
    tuner: int = parent.sentinel
    fcntl.fcntl(tuner, fcntl.F_SETOWN, os.getpid())
    fcntl.fcntl(tuner, fcntl.F_SETFL, fcntl.fcntl(tuner, fcntl.F_GETFL) | os.O_ASYNC)
    if select.select([tuner], [], [], 0)[0]:
        raise SystemExit("the tuner is dead already")
