"""A command, such as pytest or a build, whose output goes to a log."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

# pytest kills its jobs in it.
_INTERRUPT_S = 20.0
# What ends this process has to end the command, which has its own session.
_ENDING = (signal.SIGTERM, signal.SIGHUP)


def run_logged(command: Sequence[str], environment: Mapping[str, str], log_path: Path) -> int:
    """Run a command, and return its exit code. Nothing of it runs on.

    Args:
        command: The command.
        environment: All of its environment variables.
        log_path: The file for its output, in a folder that may not exist yet.

    Raises:
        KeyboardInterrupt: By Ctrl-C, or by another signal that would end this process.
    """
    # `nohup` ignores one of them.
    ending = [one for one in _ENDING if signal.getsignal(one) == signal.SIG_DFL]
    log_path.parent.mkdir(parents=True, exist_ok=True)
    with log_path.open("wb") as log:
        process = subprocess.Popen(
            command,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            for one in ending:
                signal.signal(one, signal.default_int_handler)
            return process.wait()
        except BaseException:
            # Once, and not by the terminal: a second one would cut its end short. To all of them,
            # since a shell waits for its command.
            with contextlib.suppress(subprocess.TimeoutExpired, ProcessLookupError):
                os.killpg(process.pid, signal.SIGINT)
                process.wait(_INTERRUPT_S)
            raise
        finally:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            for one in ending:
                signal.signal(one, signal.SIG_DFL)


def complaint_in(log_path: Path) -> str:
    """Return the line of a command's output that says what is wrong."""
    lines = [line.strip() for line in log_path.read_text(errors="replace").splitlines()]
    lines = [line for line in lines if line]
    errors = [line for line in lines if "error: " in line.lower()]
    return (errors or lines or ["no output"])[-1]
