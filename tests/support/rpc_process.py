"""A program: a TVM RPC tracker or server on loopback, which prints its port. See rpc_servers.py.

rpc_process.py tracker PORT
rpc_process.py server PORT KEY [TRACKER_HOST TRACKER_PORT]

PORT is 0 for any. It ends when its standard input does, so also when the process that started it is
killed. It imports nothing of the project: the emulated device runs it, too.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import socket
import sys
import threading

HOST = "127.0.0.1"


def main() -> None:
    """Do as the command line says."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    kind, port, *more = sys.argv[1:]
    if kind == "tracker":
        track(int(port))
    else:
        key, *tracker = more
        serve(int(port), key, (tracker[0], int(tracker[1])) if tracker else None)
    # Not `sys.stdin.read()`: it holds a lock, for which each session's process would wait forever.
    os.read(sys.stdin.fileno(), 1)
    for session in multiprocessing.active_children():
        session.kill()
    os._exit(0)


def track(port: int) -> None:
    """Start a tracker."""
    from tvm.rpc.tracker import PopenTrackerServerState

    with socket.socket() as probe:
        probe.bind((HOST, port))
        free = probe.getsockname()[1]
    print(PopenTrackerServerState(HOST, free, free + 1).port, flush=True)


def serve(port: int, key: str, tracker: tuple[str, int] | None) -> None:
    """Start a server of Python's kind."""
    from tvm.rpc.server import _listen_loop  # before anyone connects: it takes a second

    # A session that is not forked starts a new interpreter, which an emulated device can't run.
    multiprocessing.set_start_method("fork")
    listening = socket.socket()
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listening.bind((HOST, port))
    listening.listen(16)

    def listen() -> None:
        while True:
            # As under a supervisor: TVM's loop ends where a session's process crashes.
            try:
                _listen_loop(listening, listening.getsockname()[1], key, tracker, None, None)
            except RuntimeError as error:
                print(error, file=sys.stderr, flush=True)
                os.chdir("/")  # its own folder is gone

    threading.Thread(target=listen, daemon=True).start()
    print(listening.getsockname()[1], flush=True)


if __name__ == "__main__":
    main()
