"""A job: a module with frozen `Request`, `Result`, and `run`, and `JOB`, which names it.

`processes/run_job.py` runs one. Importing a job's module imports no tvm.
"""

from __future__ import annotations

import pkgutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, Literal, TypeAlias, TypeVar, cast, get_args, get_type_hints

from pytest_tvmtune.core.job_stage import JobStage
from pytest_tvmtune.core.json_codec import to_json

Request = TypeVar("Request")
Result = TypeVar("Result")
Progress = TypeVar("Progress")


@dataclass(frozen=True, kw_only=True)
class OtherInterpreter:
    """The interpreter of another environment, with the `sys.path` that a process there had.

    setup: the modules that it imports (processes/setup_modules.py).
    """

    python: Path
    path: tuple[str, ...]
    setup: tuple[str, ...] = ()


# Where a job runs: in a process forked from a server that has TVM loaded, in a new interpreter, or
# in the interpreter of another environment that has this package, by its absolute path or with the
# path of its modules.
Where: TypeAlias = Literal["forked", "new interpreter"] | Path | OtherInterpreter

PROGRESS_FILE = "progress"
STAGE_FILE = "stage"


@dataclass(frozen=True, kw_only=True)
class WorkerContext(Generic[Progress]):
    """What a job has while it runs. folder: its own, and its working folder; removed afterwards."""

    folder: Path

    def enter_stage(self, stage: JobStage) -> None:
        """Note what the job does next: a crash is then named by it, and its time-out begins."""
        written = self.folder / f"{STAGE_FILE}.tmp"
        written.write_bytes(to_json(stage))
        written.replace(self.folder / STAGE_FILE)

    def report_progress(self, row: Progress) -> None:
        """Pass a value to `on_progress` of the process that waits for the job."""
        with (self.folder / PROGRESS_FILE).open("ab") as file:
            file.write(to_json(row) + b"\n")


@dataclass(frozen=True, kw_only=True)
class Job(Generic[Request, Result, Progress]):
    """A job, by the function that it is; the types are in the function's annotations.

    preload: a module that the server imports once, for this job and all that follow.
    """

    run: Callable[[Request, WorkerContext[Progress]], Result]
    preload: str = ""

    @property
    def name(self) -> str:
        """The function by its name, as `job_named` takes it: `module:function`."""
        return f"{self.run.__module__}:{self.run.__qualname__}"

    @property
    def request_type(self) -> type[Request]:
        """The type of its request."""
        return cast("type[Request]", get_type_hints(self.run)["request"])

    @property
    def result_type(self) -> type[Result]:
        """The type of its result."""
        return cast("type[Result]", get_type_hints(self.run)["return"])

    @property
    def progress_type(self) -> type[Progress]:
        """The type of its progress reports."""
        return cast("type[Progress]", get_args(get_type_hints(self.run)["context"])[0])


def job_named(name: str) -> Job[Any, Any, Any]:
    """Return the job whose `name` this is: imports its module."""
    return Job(run=pkgutil.resolve_name(name))


@dataclass(frozen=True, kw_only=True)
class JobContext:
    """How a job is run.

    scratch: the folder below which the job gets its folder. log_path: the file for its output.
    timeout_s: for each stage of the job, except WAITING. num_threads: TVM's runtime threads for
    every kernel of the job. on_stage: is called while the job runs, with its stage and the duration
    of the stage in seconds, and with a stage without text when the job is over. where: the kind of
    process. A job that depends on a separate memory layout can't be forked.
    """

    scratch: Path
    log_path: Path
    timeout_s: float
    num_threads: int
    on_stage: Callable[[JobStage, float], None] | None = None
    where: Where = "forked"
