"""Pytest processes of suites, forked from one that has TVM loaded.

Each of them would else import pytest's plugins, a second for a suite that takes one, and its
server of jobs TVM, two or more. Tests of how a process begins or is killed start new interpreters
all the same.
"""

from __future__ import annotations

import atexit
import contextlib
import importlib
import os
import random
import runpy
import socket
import subprocess
import sys
import tempfile
import threading
from pathlib import Path
from typing import Any, NoReturn

from pytest_tvmtune.relax.installation.registrations import start_recording

# What suites and the plugin's server of jobs import of others.
_PRELOADED = ("pytest", "numpy", "tvm.relax", "tvm.s_tir", "coverage")
_JOB_SERVER = "pytest_tvmtune.processes.fork_server"


class Forker:
    """A process from which others are forked, as `python -m MODULE ARGUMENTS` would be."""

    def __init__(self) -> None:
        self._requests, theirs = socket.socketpair()
        measured = {name for name in os.environ if name.startswith("COV")}
        environment = {name: value for name, value in os.environ.items() if name not in measured}
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, __file__, str(theirs.fileno())],
                env={**environment, "PYTHONPATH": str(Path(__file__).with_name("without_torch"))},
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
            )

    def popen(self, command: list[str], environment: dict[str, str], out: str, err: str) -> Any:
        """Return what can be waited for, as a subprocess.Popen. out, err: files."""
        # It takes along our end, to have its server of jobs forked, too.
        files = (out, err)
        ours = self._requests.fileno()
        forked = _fork(self._requests, command, environment, files, ours, cwd=Path.cwd())
        forked.stdin = None
        return forked

    def end(self) -> None:
        """End it, and what it has forked."""
        self._requests.close()
        self._process.kill()
        self._process.wait()


def _fork(
    requests: socket.socket,
    command: list[str],
    environment: dict[str, str],
    files: tuple[str, str],
    fd: int,
    *,
    cwd: Path,
) -> Any:
    from pytest_tvmtune.processes.forking import request_fork

    request = {
        "words": command[1:],
        "environment": environment,
        "cwd": str(cwd),
        "files": files,
    }
    return request_fork(requests, request, fd)


def _become(request: dict[str, Any], fd: int) -> NoReturn:
    """Take on what a new interpreter would have been given, and run the module."""
    os.chdir(request["cwd"])
    for number, path in enumerate(request["files"], start=1):
        opened = os.open(path, os.O_WRONLY | os.O_APPEND)
        os.dup2(opened, number)
        os.close(opened)
    os.environ.clear()
    os.environ.update(request["environment"])
    added = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    sys.path[:] = [request["cwd"], *filter(None, added), *_LIBRARIES]
    random.seed()
    importlib.import_module("numpy").random.seed()
    option, *words = request["words"]
    code: Any = 0
    try:
        if option == "-c":
            os.setsid()
            _forget_ours()
            source, _fd, *words = words
            sys.argv = [option, str(fd), *words]
            exec(source)
        else:
            importlib.import_module("coverage").process_startup()
            _fork_servers(socket.socket(fileno=fd))
            module = option[2:] or words.pop(0)
            sys.argv = [module, *words]
            runpy.run_module(module, run_name="__main__", alter_sys=True)
    except SystemExit as ended:
        code = ended.code
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(int(code or 0))


def _forget_ours() -> None:
    """Have all of ours imported anew but for what has seen TVM being imported."""
    for name in [name for name in sys.modules if name.startswith("pytest_tvmtune")]:
        if name != start_recording.__module__:
            del sys.modules[name]


def _load_plugins() -> None:
    """Load the plugins as pytest does it, with their asserts rewritten, by a run of no tests."""
    import pytest

    with (
        tempfile.TemporaryDirectory() as empty,
        Path(os.devnull).open("w") as nowhere,
        contextlib.redirect_stdout(nowhere),
    ):
        pytest.main(["--collect-only", "--rootdir", empty, "-p", "no:cacheprovider", empty])


def _fork_servers(requests: socket.socket) -> None:
    """Have servers of jobs forked here, where this process would start interpreters for them."""

    class Popen(subprocess.Popen):  # type: ignore[type-arg]
        def __new__(cls, command: Any, *_: Any, **options: Any) -> Any:
            words = list(command)
            if words[1:2] != ["-c"] or _JOB_SERVER not in words[2]:
                return super().__new__(cls)
            (fd,), files = options["pass_fds"], (os.devnull, os.devnull)
            return _fork(requests, command, options["env"], files, fd, cwd=options["cwd"])

    subprocess.Popen = Popen  # type: ignore[assignment]


if __name__ == "__main__":
    _ADDED = {str(Path(__file__).parent), *os.environ["PYTHONPATH"].split(os.pathsep)}
    _LIBRARIES = [path for path in sys.path if path not in _ADDED]
    start_recording()
    for name in _PRELOADED:
        importlib.import_module(name)
    _forget_ours()  # else pytest warns of asserts in it that it can't rewrite
    _load_plugins()
    from pytest_tvmtune.processes.forking import serve

    serve(socket.socket(fileno=int(sys.argv[1])), _become)
