"""A process of another interpreter that stays, and answers requests one after the other.

Between two answers it is stopped, with all its threads: a thread pool that spins would take cores
from the process whose turn it is. `processes/resident_worker.py` is the other end.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import shutil
import signal
import struct
import subprocess
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, TypeVar, get_type_hints

from pytest_tvmtune.core.clock import monotonic_s
from pytest_tvmtune.core.errors import ChildError, EnvironmentProblemError, StoreError
from pytest_tvmtune.core.job_stage import JobStage
from pytest_tvmtune.core.json_codec import from_binary, to_binary
from pytest_tvmtune.processes.interpreters import command_with_path
from pytest_tvmtune.processes.job import OtherInterpreter
from pytest_tvmtune.processes.job_failures import JobFailure, error_of
from pytest_tvmtune.processes.run_job import job_environment

Request = TypeVar("Request")
Result = TypeVar("Result")
SIZE = struct.Struct("!I")
OK, FAILED = b"+", b"-"
_WORKER = "pytest_tvmtune.processes.resident_worker"
_PIECE_BYTES = 1 << 16
# So Ctrl-C is heard within it.
_PIECE_S = 0.25


@cache
def annotated_types(method: Callable[..., Any]) -> dict[str, Any]:
    """Return the types of a method's request and answer."""
    return get_type_hints(method)


@dataclass(frozen=True, kw_only=True)
class ResidentContext:
    """How a resident process runs.

    side: its name in messages. scratch: the folder below which it gets its folder. log_path: the
    file for its output. num_threads: TVM's runtime threads. timeout_s: for each answer.
    """

    side: str
    interpreter: OtherInterpreter
    scratch: Path
    log_path: Path
    num_threads: int
    timeout_s: float


@dataclass(kw_only=True, eq=False)
class ResidentProcess:
    """A running process, seen from the process that asks. It is stopped between requests."""

    context: ResidentContext
    folder: Path
    process: subprocess.Popen[bytes]
    stage: JobStage = field(default_factory=JobStage)

    def ask(
        self, method: Callable[[Any, Request], Result], request: Request, stage: JobStage
    ) -> Result:
        """Return the answer to a request.

        Args:
            method: Of the class that the process has an object of.
            request: Its argument; plain values, no arrays.
            stage: What the process does, for messages.

        Raises:
            ChildError: The process crashed, hung, or failed.
            TvmTuneError: The method raised it.
        """
        self.send(method, request, stage)
        return self.receive(method)

    def send(
        self, method: Callable[[Any, Request], Any], request: Request, stage: JobStage
    ) -> None:
        """Begin a request; `receive` returns its answer. Raises ChildError."""
        self.stage = stage
        name = method.__name__.encode()
        frame = SIZE.pack(len(name)) + name + to_binary(request)
        assert self.process.stdin is not None
        self._signal(signal.SIGCONT)
        try:
            self.process.stdin.write(SIZE.pack(len(frame)) + frame)
            self.process.stdin.flush()
        except OSError:
            raise self._ended() from None

    def receive(self, method: Callable[[Any, Any], Result]) -> Result:
        """Return the answer to the request that was sent last, as `ask` does."""
        deadline_s = monotonic_s() + self.context.timeout_s
        (size,) = SIZE.unpack(self._read(SIZE.size, deadline_s))
        frame = self._read(size, deadline_s)
        self._signal(signal.SIGSTOP)
        if frame[:1] == OK:
            kind: type[Result] = annotated_types(method)["return"]
            return from_binary(frame[1:], kind)
        failure = from_binary(frame[1:], JobFailure)
        if failure.kind:
            raise error_of(failure, f"{self.context.side}: {failure.message}")
        raise self._failed(failure.message)

    def end(self) -> None:
        """Kill the process with all that it started, and remove its folder."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout):
            assert pipe is not None
            with contextlib.suppress(OSError):
                pipe.close()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _signal(self, number: int) -> None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.process.pid, number)

    def _read(self, size: int, deadline_s: float) -> bytes:
        assert self.process.stdout is not None
        pipe = self.process.stdout.fileno()
        found = b""
        while len(found) < size:
            left_s = deadline_s - monotonic_s()
            if left_s <= 0:
                timeout_s = self.context.timeout_s
                how = f"no answer within {timeout_s:g} s, so it was stopped"
                raise self._failed(how, "time-out")
            if select.select([pipe], [], [], min(_PIECE_S, left_s))[0]:
                part = os.read(pipe, min(_PIECE_BYTES, size - len(found)))
                if not part:
                    raise self._ended()
                found += part
        return found

    def _ended(self) -> ChildError:
        code = self.process.wait()
        if code < 0:
            name = signal.Signals(-code).name
            return self._failed(f"crashed with {name}", name)
        return self._failed(f"ended with exit code {code}")

    def _failed(self, how: str, cause: str = "") -> ChildError:
        return ChildError(
            f"{self.context.side}: {self.stage.text}: {how}",
            log_path=self.context.log_path,
            stage=self.stage,
            cause=cause,
        )


def start_resident(kind: type[Any], context: ResidentContext) -> ResidentProcess:
    """Start a process with an object of a class, which is given the folder of the process.

    The caller ends it, however its own work ends.

    Args:
        kind: The class; its methods take a request and return an answer, both annotated.
        context: How it runs.

    Raises:
        EnvironmentProblemError: The interpreter can't be started.
        StoreError: There is no room for its folder.
    """
    try:
        context.scratch.mkdir(parents=True, exist_ok=True)
        context.log_path.parent.mkdir(parents=True, exist_ok=True)
        folder = Path(tempfile.mkdtemp(prefix="side-", dir=context.scratch))
        log = context.log_path.open("ab", buffering=0)
    except OSError as error:
        raise StoreError(
            f"can't start a process in {context.scratch}: {error.strerror or error}"
        ) from error
    interpreter = context.interpreter
    words = (
        f"{kind.__module__}:{kind.__qualname__}",
        str(folder),
        json.dumps(interpreter.setup),
        str(os.getpid()),
    )
    with log:
        try:
            process = subprocess.Popen(
                command_with_path(interpreter.python, interpreter.path, _WORKER, *words),
                cwd=folder,
                env=job_environment(folder, context.num_threads),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                start_new_session=True,
            )
        except OSError as error:
            shutil.rmtree(folder, ignore_errors=True)
            raise EnvironmentProblemError(
                f"can't start the interpreter {interpreter.python}: {error.strerror or error}"
            ) from error
    return ResidentProcess(context=context, folder=folder, process=process)
