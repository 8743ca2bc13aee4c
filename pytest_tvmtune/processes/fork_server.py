"""A server: a process that loads what its forks need, so that they start in milliseconds.

It is a new interpreter, or a fork of the process that needs it. It ends, together with its forks,
when no process can send requests any more.
"""

from __future__ import annotations

import importlib
import json
import os
import pkgutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from contextlib import ExitStack, closing, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

from pytest_tvmtune.processes.forking import (
    ForkBody,
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
from pytest_tvmtune.processes.linux_process import die_with_parent, name_process


@dataclass(frozen=True, kw_only=True)
class ServerRole:
    """The work of a server and of its forks. Both functions are at the top level of a module.

    name: what `ps` shows, at most 15 characters. load: is called once with `arguments`, JSON
    values. run_in_fork: is called in each fork; where the request has a `preload`, the server
    imports that module first.
    """

    name: str
    load: Callable[..., None]
    arguments: tuple[Any, ...]
    run_in_fork: ForkBody


@dataclass(kw_only=True)
class ForkServer:
    """A server, seen from the process that began it.

    process: None for a fork of that process, which ends when no process can send requests.
    """

    requests: Socket
    process: subprocess.Popen[bytes] | None = None
    owner: int = field(default_factory=os.getpid)
    has_forked: bool = False
    ended: bool = False

    def fork(self, request: Mapping[str, Any], fd: int) -> ForkedProcess:
        """Return a process that does the request with a file descriptor.

        Raises:
            OSError: The server has ended.

        """
        try:
            process = request_fork(self.requests, request, fd)
        except OSError:
            self.end()
            raise
        self.has_forked = True
        return process

    def end(self) -> None:
        """End the server, and with it what it has forked."""
        self.ended = True
        self.requests.close()
        if self.process is not None and self.owner == os.getpid():
            self.process.kill()
            self.process.wait()


def begin_interpreter(role: ServerRole, **options: Any) -> ForkServer:
    """Return a server in a new interpreter. options: of subprocess.Popen."""
    ours, theirs = socket_pair()
    with ExitStack() as unless_begun, closing(theirs):
        unless_begun.callback(ours.close)
        words = [str(theirs.fileno()), _role_text(role)]
        process = subprocess.Popen(
            command(__name__, *words),
            pass_fds=[theirs.fileno()],
            stdin=subprocess.DEVNULL,
            **options,
        )
        unless_begun.pop_all()
    return ForkServer(requests=ours, process=process)


def begin_fork(role: ServerRole) -> ForkServer:
    """Return a server that is a fork of this process, which has one thread and ran no kernel."""
    ours, theirs = socket_pair()
    wanted_by = os.getpid()
    flush_output()
    with closing(theirs):
        if os.fork() == 0:
            with ends_here():
                if os.getppid() == wanted_by:
                    close_all_but(theirs.fileno())
                    _serve(role, theirs)
    return ForkServer(requests=ours)


def has_one_thread() -> bool:
    """Whether this process may fork: in a fork, locks of other threads would never be released."""
    tasks = Path("/proc/self/task")
    return tasks.is_dir() and len(list(tasks.iterdir())) == 1


def _serve(role: ServerRole, requests: Socket) -> NoReturn:
    die_with_parent()  # while it loads, it wouldn't hear that nobody can ask any more
    name_process(role.name)
    role.load(*role.arguments)
    serve(requests, role.run_in_fork, prepare=_preload)


def _preload(request: dict[str, Any]) -> None:
    # Where it fails, the fork does so, too, and can say why.
    with suppress(Exception):
        if module := request.get("preload"):
            importlib.import_module(module)


def _role_text(role: ServerRole) -> str:
    functions = [f"{one.__module__}:{one.__qualname__}" for one in (role.load, role.run_in_fork)]
    return json.dumps([role.name, *functions, role.arguments])


def _role(text: str) -> ServerRole:
    name, load, run_in_fork, arguments = json.loads(text)
    return ServerRole(
        name=name,
        load=pkgutil.resolve_name(load),
        arguments=tuple(arguments),
        run_in_fork=pkgutil.resolve_name(run_in_fork),
    )


def main() -> NoReturn:
    """Serve. sys.argv: the socket's number, the role as JSON."""
    _serve(_role(sys.argv[2]), Socket(fileno=int(sys.argv[1])))
