"""Jobs: functions of ours called in a process of their own, so that what crashes is one failed job.

A folder carries a pickled request and .npy files in, a pickled result out, and the name of the
stage under way; `processes/worker.py` is the other end.
"""

from __future__ import annotations

import contextlib
import json
import os
import pickle
import re
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from pytest_tvmtune.core.clock import monotonic_s, now_s, utc_text
from pytest_tvmtune.core.errors import ChildError, StoreError
from pytest_tvmtune.processes.job_server import Process, start_job
from pytest_tvmtune.processes.setup_modules import setup_in_use
from pytest_tvmtune.processes.worker import PROGRESS, WAITING, LineTail, stage_of
from pytest_tvmtune.store.locks import FOLDER_VARIABLE, lock_folder

_POLL_S = 0.25
_TAIL_LINES = 6
_HEADING = "\n=== "
_LACKS_FUNCTION = re.compile(r"[Cc]annot find (the )?(ffi::|Packed|global )?[Ff]unction")
# A log that grew beyond it begins anew: MetaSchedule writes some MB a run.
_MOST_LOG_BYTES = 50_000_000


def run_job(
    function: str,
    request: Mapping[str, Any],
    *,
    scratch: Path,
    log_path: Path,
    timeout_s: float,
    num_threads: int,
    arrays: Mapping[str, Sequence[Any]] | None = None,
    on_progress: Callable[[dict[str, Any]], None] | None = None,
    on_stage: Callable[[str, float], None] | None = None,
    fresh: bool = False,
    preload: str = "",
) -> Any:
    """Run `module:function(request)` in a process of its own and return its result.

    request: plain values; it gets `folder` (a Path, removed afterwards) and each entry of
    `arrays` (numpy arrays, or files of them) as a list of memory-mapped arrays. timeout_s: for each
    stage that the job enters, but WAITING. num_threads: TVM runtime threads of every kernel that
    runs there. on_progress: is given what the job passes to `tell_progress`. on_stage: is
    called, as long as the job runs, with its stage and how many seconds that has lasted, and with
    no stage once it is over. fresh: not forked
    from the server, for what depends on where things lie in memory. preload: a module that the
    server imports once, for this job and all that follow.
    Raises ChildError when the process crashes, hangs or fails, and the TvmTuneError that the
    function itself raised; StoreError when there is no room for the request,
    EnvironmentProblemError when no interpreter can be started.
    """
    folder: Path | None = None
    try:
        scratch.mkdir(parents=True, exist_ok=True)
        log_path.parent.mkdir(parents=True, exist_ok=True)
        folder = Path(tempfile.mkdtemp(prefix="job-", dir=scratch))
        _write_request(folder, function, request, arrays or {})
        full = log_path.exists() and log_path.stat().st_size > _MOST_LOG_BYTES
        with log_path.open("wb" if full else "ab", buffering=0) as log:
            log.write(_log_heading(function).encode())
            process = start_job(
                folder, log, _environment(folder, num_threads), fresh=fresh, preload=preload
            )
    except BaseException as error:
        if folder:
            shutil.rmtree(folder, ignore_errors=True)
        if not isinstance(error, OSError):
            raise
        raise StoreError(f"can't start a job in {scratch}: {error.strerror or error}") from error
    try:
        code = _wait(
            process, folder, timeout_s, log_path, on_progress=on_progress, on_stage=on_stage
        )
        return _result(folder, code, function, log_path)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _log_heading(function: str) -> str:
    """Return the line that sets the output of one job apart from the next one's in a log."""
    test = os.environ.get("PYTEST_CURRENT_TEST", "")
    return f"{_HEADING}{utc_text(now_s())} {function} {test}".rstrip() + "\n"


def _write_request(
    folder: Path,
    function: str,
    request: Mapping[str, Any],
    arrays: Mapping[str, Sequence[Any]],
) -> None:
    from pytest_tvmtune.processes.shared_arrays import ArrayFile, write_array

    array_files = {
        group: [
            value
            if isinstance(value, ArrayFile)
            else write_array(folder / f"{group}-{index}.npy", value)
            for index, value in enumerate(values)
        ]
        for group, values in arrays.items()
    }
    message = {
        "function": function,
        "request": dict(request),
        "arrays": array_files,
        "setup": setup_in_use(),
    }
    (folder / "request.pkl").write_bytes(pickle.dumps(message))


def _environment(folder: Path, num_threads: int) -> dict[str, str]:
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
    process: Process,
    folder: Path,
    timeout_s: float,
    log_path: Path,
    *,
    on_progress: Callable[[dict[str, Any]], None] | None,
    on_stage: Callable[[str, float], None] | None,
) -> int:
    progress = LineTail(path=folder / PROGRESS)
    stage, entered_s = "", monotonic_s()
    shown_s = entered_s
    try:
        while monotonic_s() < entered_s + timeout_s:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(min(_POLL_S, timeout_s))
            code = process.poll()  # before what it wrote is read: so its last words are heard
            if on_progress:
                for line in progress.new_lines():
                    on_progress(json.loads(line))
            if code is not None:
                return code
            if (now := stage_of(folder)) != stage or stage == WAITING:
                entered_s = monotonic_s()
                shown_s = shown_s if now == stage else entered_s
                stage = now
            if on_stage:
                on_stage(stage, monotonic_s() - shown_s)
        raise ChildError(
            f"{stage}: no answer within {timeout_s:g} s, stopped",
            log_path=log_path,
            stage=stage,
            cause="time-out",
        )
    finally:
        # Also on Ctrl-C and on a time-out of the test: it takes its own children along.
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        if on_stage:
            on_stage("", 0.0)


def _result(folder: Path, code: int, function: str, log_path: Path) -> Any:
    result = folder / "result.pkl"
    stage = stage_of(folder)

    def failure(what: str, cause: str = "") -> ChildError:
        return ChildError(f"{stage}: {what}", log_path=log_path, stage=stage, cause=cause)

    if code < 0:
        name = signal.Signals(-code).name
        raise failure(f"crashed with {name}", name)
    if not result.is_file():
        raise failure(f"{function} ended with exit code {code}: {_tail(log_path)}")
    answer = pickle.loads(result.read_bytes())
    if "value" in answer:
        return answer["value"]
    if "expected" in answer:
        expected = answer["expected"]
        raise type(expected)(f"{_with_advice(str(expected))}\nlog: {log_path}")
    raise failure(_with_advice(answer["unexpected"]))


def _with_advice(text: str) -> str:
    """Return what went wrong, and what to do where a function of the user's own is missing."""
    if not _LACKS_FUNCTION.search(text):
        return text
    return (
        f"{text}; models are compiled and run in child processes: put what registers the function "
        "into a module, and name it with --tvm-setup=MODULE (ini: tvm_setup)"
    )


def _tail(log_path: Path) -> str:
    _, _, last = log_path.read_text(errors="replace").rpartition(_HEADING)
    lines = last.strip().splitlines()[1:]
    return " | ".join(lines[-_TAIL_LINES:])
