"""Real TVM RPC trackers and servers on loopback, in processes of their own."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from pytest_tvmtune.core.settings.rpc_address import RpcAddress

_PROGRAM = Path(__file__).with_name("rpc_process.py")


@dataclass(kw_only=True)
class RpcProcess:
    """A tracker or a server. host, port: where it listens."""

    process: subprocess.Popen[str]
    port: int
    host: str = "127.0.0.1"

    @property
    def address(self) -> RpcAddress:
        """Its own address."""
        return RpcAddress(host=self.host, port=self.port)

    def kill(self) -> None:
        """End it and everything that it started, at once."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()


@contextlib.contextmanager
def rpc_tracker(port: int = 0) -> Iterator[RpcProcess]:
    """Run a tracker. port: 0 for any."""
    with _started("tracker", str(port)) as tracker:
        yield tracker


@contextlib.contextmanager
def rpc_server(
    *, key: str = "", tracker: RpcProcess | None = None, port: int = 0
) -> Iterator[RpcProcess]:
    """Run a server of Python's kind. key: with a tracker, under which it is registered."""
    where = [tracker.host, str(tracker.port)] if tracker else []
    with _started("server", str(port), key, *where) as server:
        yield server


@contextlib.contextmanager
def devices(key: str, count: int) -> Iterator[RpcAddress]:
    """Run a tracker with so many servers; return their address."""
    with contextlib.ExitStack() as stack:
        tracker = stack.enter_context(rpc_tracker())
        for _ in range(count):
            stack.enter_context(rpc_server(key=key, tracker=tracker))
        yield RpcAddress(host=tracker.host, port=tracker.port, key=key)


@contextlib.contextmanager
def _started(*arguments: str) -> Iterator[RpcProcess]:
    command = [sys.executable, str(_PROGRAM), *arguments]
    process = subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
        stderr=subprocess.DEVNULL,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    running = RpcProcess(process=process, port=int(process.stdout.readline()))
    try:
        yield running
    finally:
        running.kill()
        process.stdin.close()
        process.stdout.close()
