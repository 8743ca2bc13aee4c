"""Forking on request: the messages between a server and the processes that need its forks.

The server calls no kernel and starts no thread, so that a fork begins like a new process. It ends,
together with its forks, when no process can send requests any more.

Sockets are `_socket`'s: plugins that keep tests off the network, such as pytest-socket, replace the
class `socket.socket`, which `socket.socketpair` uses as well.
"""

from __future__ import annotations

import _socket
import gc
import json
import os
import selectors
import signal
import socket
import struct
import subprocess
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from typing import Any, NoReturn, TypeAlias

from pytest_tvmtune.processes.linux_process import die_with_parent

Socket: TypeAlias = _socket.socket
_PART_BYTES = 1 << 16
_NUMBER = struct.Struct("!i")
# What a fork does with its request and its file descriptor.
ForkBody = Callable[[dict[str, Any], int], None]


@dataclass(kw_only=True)
class ForkedProcess:
    """A process forked by a server, seen from here: the server reports how it ended.

    answers: becomes readable when it ends.
    """

    pid: int
    answers: Socket
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
                raise subprocess.TimeoutExpired("fork", timeout or 0.0) from None
            # Nothing: the server was killed, and took its forks along.
            self.returncode = _NUMBER.unpack(told)[0] if told else -signal.SIGKILL
            self.answers.close()
        return self.returncode

    def kill(self) -> None:
        """Kill it, unless it has ended."""
        if self.poll() is None:
            with suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)


def socket_pair() -> tuple[Socket, Socket]:
    """Return two sockets, connected with each other."""
    return _socket.socketpair()


def request_fork(requests: Socket, request: Mapping[str, Any], fd: int) -> ForkedProcess:
    """Return a process that a server has forked, which is handed a file descriptor.

    requests: the other end of the server's socket. Raises OSError when the server has ended.
    """
    answers, theirs = socket_pair()
    try:
        with closing(theirs):
            line = json.dumps(request).encode() + b"\n"
            socket.send_fds(requests, [line], [theirs.fileno(), fd])  # type: ignore[arg-type]
        told = answers.recv(_NUMBER.size)  # comes when it has loaded what a fork needs
        if not told:
            raise ConnectionError("the server ended")
    except OSError:
        answers.close()
        raise
    return ForkedProcess(pid=_NUMBER.unpack(told)[0], answers=answers)


def serve(
    requests: Socket,
    run_in_fork: ForkBody,
    prepare: Callable[[dict[str, Any]], None] = lambda _: None,
) -> NoReturn:
    """Fork a process for each request; end when no process can send requests.

    become: called in the fork, with the request and the file descriptor. prepare: called before,
    in the server.
    """
    jobs: dict[int, Socket] = {}
    woken, wakes = socket_pair()
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
                    continue
                request, answers, fd = _receive(requests)
                prepare(request)
                gc.freeze()  # no collection in a fork copies the pages of what it shares
                pid = _fork(run_in_fork, request, fd)
                os.close(fd)
                jobs[pid] = answers
                with suppress(OSError):
                    answers.send(_NUMBER.pack(pid))


def _receive(requests: Socket) -> tuple[dict[str, Any], Socket, int]:
    message, fds = b"", []
    while not message.endswith(b"\n"):
        part, new_fds, _, _ = socket.recv_fds(requests, _PART_BYTES, 2)  # type: ignore[arg-type]
        if not part:
            os._exit(0)
        message += part
        fds += new_fds
    return json.loads(message), Socket(fileno=fds[0]), fds[1]


def _fork(run_in_fork: ForkBody, request: dict[str, Any], fd: int) -> int:
    server = os.getpid()
    flush_output()
    pid = os.fork()
    if not pid:
        with ends_here():
            die_with_parent()
            if os.getppid() == server:
                signal.set_wakeup_fd(-1)
                signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                close_all_but(fd)
                run_in_fork(request, fd)
    return pid


def flush_output() -> None:
    """Write out what was printed, before a fork does so once more, or this process ends."""
    for stream in (sys.stdout, sys.stderr):
        with suppress(Exception):
            stream.flush()


@contextmanager
def ends_here() -> Iterator[None]:
    """End this process after the block: with 0, or with 1 and a traceback in its log."""
    code = 1
    try:
        yield
        code = 0
    except BaseException:  # noqa: BLE001  its log and exit code are what is left of it
        with suppress(Exception):
            traceback.print_exc()
    finally:
        flush_output()
        # Out at once: TVM's thread pool can hang in static destructors.
        os._exit(code)


def close_all_but(fd: int) -> None:
    """Close inherited file descriptors, except standard input, output, error, and `fd`.

    This is important for sockets: while they are open here, other processes can't see that the
    other end has died.
    """
    os.closerange(3, fd)
    os.closerange(fd + 1, os.sysconf("SC_OPEN_MAX"))


def _reap(jobs: dict[int, Socket], woken: Socket) -> None:
    woken.recv(_PART_BYTES)
    while jobs:
        pid, status = os.waitpid(-1, os.WNOHANG)
        if not pid:
            return
        with closing(jobs.pop(pid)) as answers, suppress(OSError):
            answers.send(_NUMBER.pack(os.waitstatus_to_exitcode(status)))
