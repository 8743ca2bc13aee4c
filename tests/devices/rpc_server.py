"""Runs on the emulated device: an RPC server of TVM on loopback, until the standard input ends.

Usage: python rpc_server.py KEY [TRACKER_HOST TRACKER_PORT]

It prints its port, which the system picks. As in TVM's own server, the loop runs in a thread, and a
session whose process crashes ends it: later clients wait for an answer that never comes.
"""

from __future__ import annotations

import multiprocessing
import os
import socket
import sys
import threading

from tvm.rpc.server import _listen_loop


def serve(key: str, tracker: tuple[str, int] | None) -> None:
    # A session that is not forked starts a new interpreter, which the machine can't run.
    multiprocessing.set_start_method("fork")
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    listener.listen(1)
    port = listener.getsockname()[1]
    arguments = (listener, port, key, tracker, None, None)
    threading.Thread(target=_listen_loop, args=arguments, daemon=True).start()
    print(port, flush=True)
    # Ends also when the process that started this one is killed. Not `sys.stdin.read()`: it holds a
    # lock, for which each session's process would wait forever.
    os.read(sys.stdin.fileno(), 1)
    for session in multiprocessing.active_children():
        session.kill()
    os._exit(0)


if __name__ == "__main__":
    key, *rest = sys.argv[1:]
    serve(key, (rest[0], int(rest[1])) if rest else None)
