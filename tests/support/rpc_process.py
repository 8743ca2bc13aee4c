"""A program: a TVM RPC tracker or server on loopback, which prints its port. See rpc_servers.py.

rpc_process.py tracker PORT
rpc_process.py server PORT KEY TRACKER_PORT
"""

from __future__ import annotations

import os
import signal
import socket
import sys
import time

from pytest_tvmtune.processes.linux_process import die_with_parent

HOST = "127.0.0.1"


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


def main() -> None:
    """Do as the command line says."""
    die_with_parent()
    kind, port, *more = sys.argv[1:]
    if kind == "tracker":
        from tvm.rpc.tracker import PopenTrackerServerState

        first = int(port) or _free_port()
        print(PopenTrackerServerState(HOST, first, first + 1).port, flush=True)
        while True:
            time.sleep(60)
    key, tracker_port = more
    from tvm.rpc.server import _listen_loop

    with socket.socket() as listening:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((HOST, int(port)))
        listening.listen(16)
        print(listening.getsockname()[1], flush=True)
        tracker_address = (HOST, int(tracker_port)) if tracker_port else None
        while True:
            # As under a supervisor: TVM's loop ends where a session's process crashes.
            try:
                _listen_loop(
                    listening, listening.getsockname()[1], key, tracker_address, None, None
                )
            except RuntimeError as error:
                print(error, file=sys.stderr, flush=True)
                os.chdir("/")  # its own folder is gone


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    main()
