"""Child processes: whatever crashes or hangs there is one failed job, never a dead test run.

`run_job` starts `python -m pytest_tvmtune.relax.child FOLDER PID`; the folder carries a pickled
request and .npy files in, a pickled result out, and the name of the stage under way.
"""

from __future__ import annotations

import atexit
import contextlib
import ctypes
import importlib
import json
import os
import pickle
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pytest_tvmtune.core.errors import ChildError, TvmTuneError, last_line

# A stage that may last: another process has the machine's cores.
WAITING = "waiting for the machine's cores"
_STAGE = "stage"
_PROGRESS = "progress"
_POLL_S = 0.25
_PR_SET_PDEATHSIG = 1
_PR_SET_NAME = 15
_TAIL_LINES = 6
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
) -> Any:
    """Run `module:function(request)` in a fresh process and return its result.

    request: plain values; it gets `folder` (a Path, removed afterwards) and each entry of
    `arrays` as a list of memory-mapped numpy arrays. timeout_s: for each stage that the job
    enters, but WAITING. num_threads: TVM runtime threads of every kernel that runs there.
    on_progress: is given what the job passes to `tell_progress`.
    Raises ChildError when the process crashes, hangs or fails, and the TvmTuneError that the
    function itself raised.
    """
    import numpy as np

    from pytest_tvmtune.core.dtypes import to_plain

    scratch.mkdir(parents=True, exist_ok=True)
    log_path.parent.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix="job-", dir=scratch))
    try:
        array_files: dict[str, list[tuple[str, str]]] = {}
        for group, values in (arrays or {}).items():
            array_files[group] = []
            for index, value in enumerate(values):
                path = folder / f"{group}-{index}.npy"
                np.save(path, to_plain(value), allow_pickle=False)
                array_files[group].append((str(path), value.dtype.name))
        message = {"function": function, "request": dict(request), "arrays": array_files}
        (folder / "request.pkl").write_bytes(pickle.dumps(message))
        full = log_path.exists() and log_path.stat().st_size > _MOST_LOG_BYTES
        with log_path.open("wb" if full else "ab") as log:
            process = _start(folder, log, num_threads)
        code = _wait(process, folder, timeout_s, log_path, on_progress)
        return _result(folder, code, function, log_path)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _start(folder: Path, log: Any, num_threads: int) -> subprocess.Popen[bytes]:
    environment = {**os.environ, "TVM_NUM_THREADS": str(num_threads)}
    # The child starts in an empty folder, so that no file of the user's shadows a module.
    given = [p for p in environment.get("PYTHONPATH", "").split(os.pathsep) if p]
    paths = [Path(__file__).parents[2], *(Path(p).resolve() for p in given)]
    environment["PYTHONPATH"] = os.pathsep.join(map(str, paths))
    return subprocess.Popen(
        [sys.executable, "-m", "pytest_tvmtune.relax.child", str(folder), str(os.getpid())],
        cwd=folder,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )


def _wait(
    process: subprocess.Popen[bytes],
    folder: Path,
    timeout_s: float,
    log_path: Path,
    on_progress: Callable[[dict[str, Any]], None] | None,
) -> int:
    progress = LineTail(path=folder / _PROGRESS)
    stage, entered_s = "", time.monotonic()
    try:
        while time.monotonic() < entered_s + timeout_s:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(min(_POLL_S, timeout_s))
            if on_progress:
                for line in progress.new_lines():
                    on_progress(json.loads(line))
            if process.returncode is not None:
                return process.returncode
            if stage != _stage(folder) or stage == WAITING:
                stage, entered_s = _stage(folder), time.monotonic()
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


def _result(folder: Path, code: int, function: str, log_path: Path) -> Any:
    result = folder / "result.pkl"
    stage = _stage(folder)

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
        raise type(expected)(f"{expected}\nlog: {log_path}")
    raise failure(answer["unexpected"])


def _stage(folder: Path) -> str:
    try:
        return (folder / _STAGE).read_text()
    except OSError:
        return "start of the process"


def _tail(log_path: Path) -> str:
    lines = log_path.read_text(errors="replace").strip().splitlines()
    return " | ".join(lines[-_TAIL_LINES:])


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
    with (folder / _PROGRESS).open("ab") as file:
        file.write(json.dumps(row).encode() + b"\n")


def die_with_parent() -> None:
    """Ask Linux to kill this process when its parent dies, however it dies."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def name_process(name: str) -> None:
    """Set what `ps` and `top` show for this process on Linux; at most 15 characters."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_NAME, name.encode())


def leave_out_torch() -> None:
    """Keep `import tvm` from importing torch in this process, where nobody needs it.

    tvm-ffi imports it wherever it is installed: 1.4 s and 150 MB for each process.
    """
    sys.modules["torch"] = None  # type: ignore[assignment]


def _main(folder: Path, parent: int) -> None:
    die_with_parent()
    if os.getppid() != parent:
        return  # it died before that was heard
    name_process("tvmtune-job")
    leave_out_torch()
    import numpy as np

    from pytest_tvmtune.core.dtypes import from_plain

    message = pickle.loads((folder / "request.pkl").read_bytes())
    module, _, name = message["function"].partition(":")
    request = dict(message["request"])
    request["folder"] = folder
    for group, files in message["arrays"].items():
        request[group] = [
            from_plain(np.load(file, mmap_mode="r", allow_pickle=False), dtype)
            for file, dtype in files
        ]
    answer: dict[str, Any]
    try:
        answer = {"value": getattr(importlib.import_module(module), name)(request)}
    except TvmTuneError as error:
        traceback.print_exc()
        answer = {"expected": error}
    except Exception as error:  # noqa: BLE001  everything else is reported with the log
        traceback.print_exc()
        answer = {"unexpected": f"{type(error).__name__}: {last_line(error)}"}
    beside = folder / "result.tmp"
    beside.write_bytes(pickle.dumps(answer))
    beside.replace(folder / "result.pkl")
    sys.stdout.flush()
    # multiprocessing removes its temporary folder here. Then out at once: TVM's thread pool can
    # hang or crash in static destructors, and the answer is on disk.
    atexit._run_exitfuncs()  # noqa: SLF001
    os._exit(0)


if __name__ == "__main__":
    _main(Path(sys.argv[1]), int(sys.argv[2]))
