"""Running a job in another process, so that a crash is only a failed job.

A folder carries the request in and the result out, and has the name of the stage under way;
`processes/worker.py` is the other end.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pytest_tvmtune.core.clock import monotonic_s, now_s, utc_text
from pytest_tvmtune.core.errors import ChildError, StoreError
from pytest_tvmtune.core.job_stage import STARTING, JobStage
from pytest_tvmtune.core.json_codec import from_json
from pytest_tvmtune.processes.job import (
    PROGRESS_FILE,
    STAGE_FILE,
    Job,
    JobContext,
    Progress,
    Request,
    Result,
)
from pytest_tvmtune.processes.job_failures import JobFailure, error_of
from pytest_tvmtune.processes.job_processes import Process, start_job
from pytest_tvmtune.processes.line_tail import LineTail
from pytest_tvmtune.processes.messages import read_message, write_message
from pytest_tvmtune.processes.worker import FAILURE_FILE, REQUEST_FILE, RESULT_FILE
from pytest_tvmtune.store.locks import FOLDER_VARIABLE, lock_folder

_POLL_S = 0.25
_TAIL_LINES = 6
_HEADING = "\n=== "
_LACKS_FUNCTION = re.compile(r"[Cc]annot find (the )?(ffi::|Packed|global )?[Ff]unction")
# A log that grew beyond it begins anew: MetaSchedule writes some MB a run.
_MOST_LOG_BYTES = 50_000_000


def run_job(
    job: Job[Request, Result, Progress],
    request: Request,
    context: JobContext,
    on_progress: Callable[[Progress], None] = lambda _: None,
) -> Result:
    """Run a job in another process and return its result.

    Args:
        job: What is run.
        request: What it is asked. It travels by the codec; its arrays, if they aren't in files
            already, by files, which the job maps.
        context: Where and how it runs.
        on_progress: Is given what the job reports, all of it by the time this returns or raises.

    Returns:
        What the job returned.

    Raises:
        TvmTuneError: The job itself raised it.
        ChildError: The process crashed, hung or failed.
        StoreError: There is no room for the request.
        EnvironmentProblemError: No interpreter can be started.

    """
    scratch, log_path = context.scratch, context.log_path
    folder: Path | None = None
    try:
        scratch.mkdir(parents=True, exist_ok=True)
        log_path.parent.mkdir(parents=True, exist_ok=True)
        folder = Path(tempfile.mkdtemp(prefix="job-", dir=scratch))
        write_message(folder / REQUEST_FILE, request)
        full = log_path.exists() and log_path.stat().st_size > _MOST_LOG_BYTES
        with log_path.open("wb" if full else "ab", buffering=0) as log:
            log.write(_log_heading(job.name).encode())
            environment = job_environment(folder, context.num_threads)
            process = start_job(job, folder, log, environment, context.where)
    except BaseException as error:
        if folder:
            shutil.rmtree(folder, ignore_errors=True)
        if not isinstance(error, OSError):
            raise
        raise StoreError(f"can't start a job in {scratch}: {error.strerror or error}") from error
    reports, progress_type = LineTail(path=folder / PROGRESS_FILE), job.progress_type

    def read_progress() -> None:
        for line in reports.new_lines():
            on_progress(from_json(line, progress_type))

    try:
        code = _wait(process, folder, context, read_progress)
        read_progress()  # what it reported last, however it ended
        return _result(job, folder, code, context)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _log_heading(job_name: str) -> str:
    """Return the line that separates the output of jobs in a log."""
    test = os.environ.get("PYTEST_CURRENT_TEST", "")
    return f"{_HEADING}{utc_text(now_s())} {job_name} {test}".rstrip() + "\n"


def job_environment(folder: Path, num_threads: int) -> dict[str, str]:
    """Return a job's environment variables.

    Its temporary files are in its folder: what a killed compiler or linker leaves goes with it.
    """
    temporary = folder / "tmp"
    temporary.mkdir()
    environment = {
        **os.environ,
        "TVM_NUM_THREADS": str(num_threads),
        "TMPDIR": str(temporary),
        FOLDER_VARIABLE: str(lock_folder()),
    }
    # What the tests make of warnings is theirs: no candidate fails by a deprecation in TVM.
    environment.pop("PYTHONWARNINGS", None)
    # For what a job starts itself; its own path is this process's. It works in another folder.
    if given := [path for path in os.environ.get("PYTHONPATH", "").split(os.pathsep) if path]:
        environment["PYTHONPATH"] = os.pathsep.join(str(Path(path).resolve()) for path in given)
    return environment


def _wait(
    process: Process, folder: Path, context: JobContext, read_progress: Callable[[], None]
) -> int | None:
    """Return the exit code; None where the job had to be stopped, since a stage took too long."""
    stage, entered_s = JobStage(), monotonic_s()
    shown_s = entered_s
    try:
        while monotonic_s() < entered_s + context.timeout_s:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(min(_POLL_S, context.timeout_s))
            if (code := process.poll()) is not None:
                return code
            read_progress()
            if (now := _stage_of(folder)) != stage or stage.kind == "waiting":
                entered_s = monotonic_s()
                shown_s = shown_s if now == stage else entered_s
                stage = now
            if context.on_stage:
                context.on_stage(stage, monotonic_s() - shown_s)
        return None
    finally:
        # Also on Ctrl-C and on a time-out of the test: it takes its own children along.
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        if context.on_stage:
            context.on_stage(JobStage(), 0.0)


def _stage_of(folder: Path) -> JobStage:
    """Return what the job entered last."""
    try:
        return from_json((folder / STAGE_FILE).read_bytes(), JobStage)
    except OSError:
        return STARTING


def _result(
    job: Job[Any, Result, Any], folder: Path, code: int | None, context: JobContext
) -> Result:
    stage, log_path = _stage_of(folder), context.log_path

    def failed(how: str, cause: str = "") -> ChildError:
        return ChildError(f"{stage.text}: {how}", log_path=log_path, stage=stage, cause=cause)

    if code is None:
        raise failed(f"no answer within {context.timeout_s:g} s, so it was stopped", "time-out")
    if code < 0:
        name = signal.Signals(-code).name
        raise failed(f"crashed with {name}", name)
    if (folder / RESULT_FILE).is_file():
        return read_message(folder / RESULT_FILE, job.result_type)
    if not (folder / FAILURE_FILE).is_file():
        raise failed(f"{job.name} ended with exit code {code}: {_tail(log_path)}")
    failure = read_message(folder / FAILURE_FILE, JobFailure)
    message = _with_advice(failure.message)
    if failure.kind:
        raise error_of(failure, f"{message}\nlog: {log_path}")
    raise failed(message)


def _with_advice(text: str) -> str:
    """Return the problem, with a remedy if a function of the user is missing."""
    if not _LACKS_FUNCTION.search(text):
        return text
    return (
        f"{text}; models are compiled and run in child processes, so put the registration of the "
        "function into a module, and name it with --tvm-setup=MODULE (ini: tvm_setup)"
    )


def _tail(log_path: Path) -> str:
    _, _, last = log_path.read_text(errors="replace").rpartition(_HEADING)
    lines = last.strip().splitlines()[1:]
    return " | ".join(lines[-_TAIL_LINES:])
