"""Jobs for the tests of child processes, importable in a child."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pytest_tvmtune.core.errors import ChildError, ModelError, UnsupportedOperatorError
from pytest_tvmtune.core.job_stage import JobStage
from pytest_tvmtune.core.tensors.signature import Array
from pytest_tvmtune.processes.job import WorkerContext
from pytest_tvmtune.store.locks import lock_folder


@dataclass(frozen=True, kw_only=True, eq=False)
class Request:
    """What some of these jobs are asked."""

    text: str = ""
    arrays: tuple[Array, ...] = ()
    pid_file: Path | None = None
    variables: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True, eq=False)
class Echo:
    """What was asked, as it arrived."""

    sum: float
    threads: str
    text: str
    arrays: tuple[Array, ...]


def echo(request: Request, context: WorkerContext[None]) -> Echo:
    return Echo(
        sum=sum(array.sum() for array in request.arrays),
        threads=os.environ["TVM_NUM_THREADS"],
        text=request.text,
        arrays=tuple(np.asarray(2 * array) for array in request.arrays),
    )


def segfault(request: Request, context: WorkerContext[None]) -> None:
    context.enter_stage(JobStage("walking off the end"))
    print("last words", flush=True)
    os.kill(os.getpid(), signal.SIGSEGV)


def hang_with_a_grandchild(request: Request, context: WorkerContext[None]) -> None:
    assert request.pid_file is not None
    context.enter_stage(JobStage("going round in circles"))
    sleeper = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    request.pid_file.write_text(f"{os.getpid()} {sleeper.pid}")
    time.sleep(600)


def refuse(request: Request, context: WorkerContext[None]) -> None:
    raise ModelError(f"no {request.text}, please")


def refuse_with_facts(request: Request, context: WorkerContext[None]) -> None:
    if request.text:
        raise UnsupportedOperatorError("odd", operators={request.text: 2})
    raise ChildError("gone", log_path=Path("/some/log"), stage=JobStage("at work"), cause="SIGSEGV")


def stumble(request: Request, context: WorkerContext[None]) -> None:
    raise KeyError("surprise")


def answer_wrongly(request: Request, context: WorkerContext[None]) -> Path:
    return object()  # type: ignore[return-value]


def leave(request: Request, context: WorkerContext[None]) -> None:
    print("so long")
    os._exit(3)


@dataclass(frozen=True, kw_only=True)
class Row:
    """What is reported on the way."""

    number: int
    best_s: float | None


def report(request: Request, context: WorkerContext[Row]) -> None:
    """Report once the caller has read nothing for a while, and end at once, or never."""
    for number in range(3):
        context.report_progress(Row(number=number, best_s=None if number else 0.5))
    if request.text == "hang":
        # All of it within one poll, the last of it just before the time-out.
        time.sleep(0.9)
        context.report_progress(Row(number=3, best_s=1.0))
        time.sleep(600)
    if request.text == "crash":
        os.kill(os.getpid(), signal.SIGKILL)


@dataclass(frozen=True, kw_only=True)
class Process:
    """What a job sees of its process."""

    pid: int
    parent: int
    variables: dict[str, str | None]
    path: tuple[Path, ...]
    prefix: Path
    folder_is_cwd: bool
    has_tvm: bool
    has_torch: bool


def where(request: Request, context: WorkerContext[None]) -> Process:
    return Process(
        pid=os.getpid(),
        parent=os.getppid(),
        variables={name: os.environ.get(name) for name in request.variables},
        path=tuple(Path(one) for one in sys.path),
        prefix=Path(sys.prefix),
        folder_is_cwd=Path.cwd() == context.folder,
        has_tvm="tvm" in sys.modules,
        has_torch=sys.modules.get("torch") is not None,
    )


def kill_the_parent(request: Request, context: WorkerContext[None]) -> None:
    context.enter_stage(JobStage("sawing off the branch"))
    os.kill(os.getppid(), signal.SIGKILL)
    time.sleep(600)


@dataclass(frozen=True, kw_only=True)
class LeftFile:
    """Where a file of a compiler that was killed would be, and where the locks are."""

    left: Path
    variable: str
    locks: Path
    folder: Path


def leave_a_file(request: Request, context: WorkerContext[None]) -> LeftFile:
    left = Path(tempfile.mkdtemp()) / "lib0.o"
    left.write_text("half an object")
    return LeftFile(
        left=left, variable=os.environ["TMPDIR"], locks=lock_folder(), folder=context.folder
    )
