"""What stands for an interpreter: has the server fork one, or starts the real one.

PreloadedPython copies it; the server's socket and the usual variables are next to the copy. It
imports what takes no time.
"""

from __future__ import annotations

import _socket
import array
import marshal
import os
import signal
import struct
import sys
from typing import NoReturn

NUMBER = struct.Struct("!i")
HANDED_ON = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def is_usual(words: list[str], folder: str) -> bool:
    """Return whether a fork does the same: its variables are those that the server has."""
    with open(f"{folder}/usual", "rb") as file:
        usual, added = marshal.load(file)
    variables = {name: value for name, value in os.environ.items() if name.startswith("PYTHON")}
    # What else is in the path may be there to stand in the way of what is loaded, as the folder
    # itself is where it was added once more than pytester does it.
    path = variables.pop("PYTHONPATH", "").split(os.pathsep)
    first = words[1:2] if words[:1] == ["-u"] else words[:1]
    return (
        variables == usual
        and added[0] in path
        and path.count(os.getcwd()) <= 1
        and {*path} - {os.getcwd()} <= {*added}
        and bool(first)
        and first[0][:2] in {"-c", "-m"}
    )


def run_in_fork(words: list[str], folder: str) -> NoReturn:
    """Have it run in a fork, to which signals are handed on, and end as that does."""
    server = _socket.socket(_socket.AF_UNIX)
    server.connect(f"{folder}/socket")
    fds = [int(name) for name in os.listdir("/proc/self/fd")]
    fds = [fd for fd in fds if fd != server.fileno() and os.path.exists(f"/proc/self/fd/{fd}")]
    request = marshal.dumps(
        {
            "words": words,
            "fds": fds,
            "interpreter": sys.argv[0],
            "folder": os.getcwd(),
            "parent": os.getppid(),
            "variables": dict(os.environ),
            "leads_session": os.getsid(0) == os.getpid(),
            "cpus": list(os.sched_getaffinity(0)),
        }
    )
    rights = (_socket.SOL_SOCKET, _socket.SCM_RIGHTS, array.array("i", fds))
    server.sendmsg([NUMBER.pack(len(request))], [rights])
    server.sendall(request)
    (pid,) = NUMBER.unpack(server.recv(NUMBER.size))
    for one in HANDED_ON:
        signal.signal(one, lambda sent, _: os.kill(pid, sent))
    answer = server.recv(NUMBER.size)
    code = NUMBER.unpack(answer)[0] if answer else -signal.SIGKILL
    if code < 0:
        if -code in HANDED_ON:
            signal.signal(-code, signal.SIG_DFL)
        os.kill(os.getpid(), -code)
    os._exit(code)


def main() -> NoReturn:
    """Do what an interpreter with this command line does."""
    words, folder = sys.argv[1:], os.path.dirname(sys.argv[0])
    if is_usual(words, folder):
        run_in_fork(words, folder)
    os.execv(sys.executable, [sys.executable, *words])


if __name__ == "__main__":
    main()
