"""What runs in a job's process, forked or fresh: its request, its stages, its answer.

`processes/jobs.py` is the other end, `processes/job_server.py` starts the process.
"""

from __future__ import annotations

import atexit
import ctypes
import importlib
import json
import os
import pickle
import signal
import sys
import traceback
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from pytest_tvmtune.core.error_text import typed_cause_of
from pytest_tvmtune.core.errors import TvmTuneError
from pytest_tvmtune.processes.loading import loading

# A stage that may last: another process has the machine's cores.
WAITING = "waiting for the machine's cores"
PROGRESS = "progress"
_STAGE = "stage"
_PR_SET_PDEATHSIG = 1
_PR_SET_NAME = 15


def stage_of(folder: Path) -> str:
    """Return what the child at work in this folder said last that it does."""
    try:
        return (folder / _STAGE).read_text()
    except OSError:
        return "start of the process"


def enter_stage(folder: Path, name: str) -> None:
    """Note, inside the child, what it does next: a crash is then named by it."""
    beside = folder / f"{_STAGE}.tmp"
    beside.write_text(name)
    beside.replace(folder / _STAGE)


@dataclass(kw_only=True)
class LineTail:
    """A growing file of lines, read as it grows."""

    path: Path
    offset: int = 0

    def new_lines(self) -> list[bytes]:
        """Return the whole lines written since the last call."""
        if not self.path.exists():
            return []
        with self.path.open("rb") as file:
            file.seek(self.offset)
            lines = [line for line in file if line.endswith(b"\n")]
        self.offset += sum(map(len, lines))
        return lines


def tell_progress(folder: Path, row: dict[str, Any]) -> None:
    """Pass plain values, from inside the child, to `on_progress` of whoever waits for it."""
    with (folder / PROGRESS).open("ab") as file:
        file.write(json.dumps(row).encode() + b"\n")


def die_with_parent() -> None:
    """Ask Linux to kill this process when its parent dies, however it dies."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def name_process(name: str) -> None:
    """Set what `ps` and `top` show for this process on Linux; at most 15 characters."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_NAME, name.encode())


def run_request(folder: Path) -> NoReturn:
    """Do what the folder's request asks for, leave the answer there, and end this process."""
    name_process("tvmtune-job")
    from pytest_tvmtune.processes.shared_arrays import read_array

    message = pickle.loads((folder / "request.pkl").read_bytes())
    module, _, name = message["function"].partition(":")
    request = dict(message["request"])
    request["folder"] = folder
    for group, files in message["arrays"].items():
        request[group] = [read_array(file) for file in files]
    answer: dict[str, Any]
    try:
        loading().import_setup(message["setup"])
        answer = {"value": getattr(importlib.import_module(module), name)(request)}
    except TvmTuneError as error:
        traceback.print_exc()
        answer = {"expected": error}
    except Exception as error:  # noqa: BLE001  everything else is reported with the log
        traceback.print_exc()
        answer = {"unexpected": typed_cause_of(error)}
    beside = folder / "result.tmp"
    beside.write_bytes(pickle.dumps(answer))
    beside.replace(folder / "result.pkl")
    sys.stdout.flush()
    # multiprocessing removes its temporary folder here. Then out at once: TVM's thread pool can
    # hang or crash in static destructors, and the answer is on disk.
    atexit._run_exitfuncs()  # noqa: SLF001
    os._exit(0)


def main() -> None:
    """Do the request in the folder that the command line names, for the process it names."""
    die_with_parent()
    if os.getppid() == int(sys.argv[2]):  # else it died before that was heard
        loading().begin()
        run_request(Path(sys.argv[1]))
