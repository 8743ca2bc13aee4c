"""Jobs for the tests of child processes, importable in a child."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from pytest_tvmtune.core.errors import ModelError
from pytest_tvmtune.processes.worker import enter_stage
from pytest_tvmtune.store.locks import lock_folder


def echo(request: dict[str, Any]) -> dict[str, Any]:
    return {
        "sum": float(sum(array.sum() for array in request["arrays"])),
        "threads": os.environ["TVM_NUM_THREADS"],
        "text": request["text"],
    }


def segfault(request: dict[str, Any]) -> None:
    enter_stage(request["folder"], "walking off the end")
    print("last words", flush=True)
    os.kill(os.getpid(), signal.SIGSEGV)


def hang_with_a_grandchild(request: dict[str, Any]) -> None:
    enter_stage(request["folder"], "going round in circles")
    sleeper = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    Path(request["pid_file"]).write_text(f"{os.getpid()} {sleeper.pid}")
    time.sleep(600)


def refuse(request: dict[str, Any]) -> None:
    raise ModelError(f"no {request['text']}, please")


def stumble(request: dict[str, Any]) -> None:
    raise KeyError("surprise")


def leave(request: dict[str, Any]) -> None:
    print("so long")
    os._exit(3)


def where(request: dict[str, Any]) -> dict[str, Any]:
    """Return what a job sees of its process."""
    return {
        "pid": os.getpid(),
        "parent": os.getppid(),
        "variables": {name: os.environ.get(name) for name in request["variables"]},
        "path": sys.path,
        "folder_is_cwd": Path.cwd() == request["folder"],
        "imported": "tvm" in sys.modules,
        "torch": sys.modules.get("torch"),
    }


def kill_the_parent(request: dict[str, Any]) -> None:
    enter_stage(request["folder"], "sawing off the branch")
    os.kill(os.getppid(), signal.SIGKILL)
    time.sleep(600)


def leave_a_file(request: dict[str, Any]) -> dict[str, str]:
    """Return where a file of a compiler that was killed would be, and where the locks are."""
    left = Path(tempfile.mkdtemp()) / "lib0.o"
    left.write_text("half an object")
    return {
        "left": str(left),
        "variable": os.environ["TMPDIR"],
        "locks": str(lock_folder()),
        "folder": str(request["folder"]),
    }
