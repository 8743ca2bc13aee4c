"""A suite run on a pseudo-terminal."""

from __future__ import annotations

import fcntl
import os
import pty
import struct
import subprocess
import sys
import termios

import pytest


def run_on_a_terminal(suite: pytest.Pytester) -> str:
    """Run the suite on a pseudo-terminal of 40 rows and 120 columns; return what it showed.

    It knows neither colours nor letters beyond ASCII.
    """
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 120, 0, 0))
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider"]
    process = subprocess.Popen(
        command,
        cwd=suite.path,
        env={**os.environ, "NO_COLOR": "1", "PYTHONIOENCODING": "ascii"},
        stdin=slave,
        stdout=slave,
        stderr=slave,
    )
    os.close(slave)
    shown = b""
    while True:
        try:
            piece = os.read(master, 4096)
        except OSError:  # Linux: the other end is closed
            break
        if not piece:
            break
        shown += piece
    os.close(master)
    assert process.wait() == 0
    return shown.decode(errors="replace")
