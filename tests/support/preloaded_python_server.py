"""The server of a preloaded python: has pytest, TVM and this package loaded, and forks.

A script, in whose path none of the tests' modules are: a suite may have some of the same name.
"""

from __future__ import annotations

import atexit
import contextlib
import fcntl
import gc
import importlib
import marshal
import os
import pkgutil
import random
import runpy
import select
import signal
import socket
import struct
import sys
import tempfile
import threading
import traceback
import types
from pathlib import Path
from typing import Any, NoReturn

import pytest

from pytest_tvmtune.processes.linux_process import die_with_parent
from pytest_tvmtune.relax.installation.registrations import start_recording

# What the path has for this script alone.
_ADDED = {str(Path(__file__).parent), str(Path(__file__).with_name("without_torch"))}
# What suites and the plugin's server of jobs import of others.
_PRELOADED = ("numpy.ma", "tvm.relax", "tvm.s_tir", "coverage", "filelock._sqlite")
# Of ours, what suites import when they need it: some test what an import finds. And a script.
_LATE = (
    "pytest_tvmtune.cli",
    "pytest_tvmtune.relax.importing.",
    "pytest_tvmtune.relax.diagnosing.reproducer_script",
)
_NUMBER = struct.Struct("!i")
_FREE_FDS = 1000


class _Server:
    """Forks a process for each client; kills it when its client ends before."""

    def __init__(self, listener: socket.socket) -> None:
        self._listener = listener
        self._clients: dict[int, tuple[socket.socket, int]] = {}
        self._woken, wakes = socket.socketpair()
        for end in (self._woken, wakes):
            end.setblocking(False)
        signal.set_wakeup_fd(wakes.fileno(), warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        self._wakes = wakes

    def serve(self, become: Any) -> NoReturn:
        with select.epoll() as ready:
            ready.register(self._listener, select.EPOLLIN)
            ready.register(self._woken, select.EPOLLIN)
            while True:
                for fd, _ in ready.poll():
                    if fd == self._listener.fileno():
                        client, _ = self._listener.accept()
                        pid = os.fork()
                        if not pid:
                            become(client)
                        self._clients[client.fileno()] = client, pid
                        ready.register(client, select.EPOLLRDHUP)
                        _tell(client, pid)
                    elif fd == self._woken.fileno():
                        self._reap()
                    elif fd in self._clients:
                        client, pid = self._clients.pop(fd)
                        client.close()
                        os.kill(pid, signal.SIGKILL)

    def _reap(self) -> None:
        with contextlib.suppress(BlockingIOError):
            while self._woken.recv(4096):
                pass
        with contextlib.suppress(ChildProcessError):
            while (ended := os.waitpid(-1, os.WNOHANG))[0]:
                for fd, (client, pid) in list(self._clients.items()):
                    if pid == ended[0]:
                        _tell(client, os.waitstatus_to_exitcode(ended[1]))
                        del self._clients[fd]
                        client.close()


def _tell(client: socket.socket, number: int) -> None:
    with contextlib.suppress(OSError):
        client.sendall(_NUMBER.pack(number))


def _become(client: socket.socket) -> NoReturn:
    """Take on what a new interpreter would have been given, and run what it would run."""
    code: Any = 1
    try:
        die_with_parent()
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        words = _take_on(client)
        code = _run(words)
    except SystemExit as ended:
        code = ended.code
    except BaseException:  # noqa: BLE001  as an interpreter does
        traceback.print_exc()
    if code is not None and not isinstance(code, int):
        print(code, file=sys.stderr)
        code = 1
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(int(code or 0))


def _take_on(client: socket.socket) -> list[str]:
    """Return the command line; the process has the client's files, folder and variables."""
    header, fds, _, _ = socket.recv_fds(client, _NUMBER.size, 64)
    (size,) = _NUMBER.unpack(header)
    with client.makefile("rb") as parts:
        request = marshal.loads(parts.read(size))
    kept = [fcntl.fcntl(fd, fcntl.F_DUPFD, _FREE_FDS) for fd in fds]
    client.close()
    os.closerange(3, _FREE_FDS)
    for fd, number in zip(kept, request["fds"], strict=True):
        os.dup2(fd, number)
    os.closerange(_FREE_FDS, _FREE_FDS + len(kept))
    if request["leads_session"]:
        os.setsid()
    os.sched_setaffinity(0, request["cpus"])
    os.chdir(request["folder"])
    os.environ.clear()
    os.environ.update(request["variables"])
    sys.executable = request["interpreter"]
    words: list[str] = request["words"]
    if any("pytest_tvmtune.processes.worker" in word for word in words):
        os.getppid = lambda: int(request["parent"])  # it asks whether who wants it is still there
    return words


def _run(words: list[str]) -> int:
    sys.orig_argv = [sys.executable, *words]
    random.seed()
    importlib.import_module("numpy").random.seed()
    if words[0] == "-u":
        words = words[1:]
        for stream in (sys.stdout, sys.stderr):
            stream.reconfigure(write_through=True)  # type: ignore[union-attr]
    if not any("pytest_tvmtune.processes" in word for word in words):
        importlib.import_module("coverage").process_startup()
    added = filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))
    sys.path[:] = ["", *added, *_libraries()]
    if words[0] == "-c":
        sys.argv = ["-c", *words[2:]]
        main = types.ModuleType("__main__")
        sys.modules["__main__"] = main
        exec(words[1], main.__dict__)
    else:
        sys.path[0] = str(Path.cwd())
        module, *arguments = [words[0][2:], *words[1:]] if words[0] != "-m" else words[1:]
        sys.argv = [module, *arguments]
        runpy.run_module(module, run_name="__main__", alter_sys=True)
    return 0


def _libraries() -> list[str]:
    return [path for path in sys.path if path not in _ADDED]


def _forget_ours() -> None:
    """Have all of ours imported anew but for what has seen TVM being imported."""
    for name in [name for name in sys.modules if name.startswith("pytest_tvmtune")]:
        if name != start_recording.__module__:
            del sys.modules[name]


class _Preloading:
    """A plugin that imports ours, while pytest is there to rewrite the asserts."""

    @staticmethod
    def pytest_configure() -> None:
        import hypothesis  # noqa: F401  its plugin imports it when pytest ends

        import pytest_tvmtune
        from pytest_tvmtune.relax.installation.toolchain_identity import toolchain_identity
        from pytest_tvmtune.store.layout import Store

        for module in pkgutil.walk_packages(pytest_tvmtune.__path__, "pytest_tvmtune."):
            if not module.name.startswith(_LATE):
                importlib.import_module(module.name)
        with tempfile.TemporaryDirectory() as folder:
            # Its libraries are read in half a second, once for the empty store of each suite.
            toolchain_identity(Store(root=Path(folder)))


def _load_plugins() -> None:
    """Load the plugins as pytest does it, with their asserts rewritten, by a run of no tests."""
    with (
        tempfile.TemporaryDirectory() as empty,
        Path(os.devnull).open("w") as nowhere,
        contextlib.redirect_stdout(nowhere),
    ):
        options = ["--collect-only", "--rootdir", empty, "-p", "no:cacheprovider", empty]
        code = pytest.main(options, [_Preloading])
    if code != pytest.ExitCode.NO_TESTS_COLLECTED:
        raise RuntimeError(f"preloading the plugins ended with {code}")


def main() -> NoReturn:
    """Serve. sys.argv: the path of the interpreter that asks."""
    die_with_parent()
    with socket.socket(socket.AF_UNIX) as listener:
        asked = Path(sys.argv[1]).with_name("socket")
        listener.bind(f"{asked}.tmp")
        listener.listen()
        Path(f"{asked}.tmp").rename(asked)  # who asks from now on waits until all is loaded
        importlib.import_module("quick_frames").search_no_made_up_files()  # next to this script
        start_recording()
        for name in _PRELOADED:
            importlib.import_module(name)
        _forget_ours()  # else pytest warns of asserts in it that it can't rewrite
        _load_plugins()
        gc.freeze()  # no collection in a fork copies the pages of what it shares
        _Server(listener).serve(_become)


if __name__ == "__main__":
    main()
