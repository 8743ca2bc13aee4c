"""Builds candidates: one process each, forked from a server that has all they need loaded.

The stock LocalBuilder starts a new pool for every batch, each worker of which imports TVM and the
intrinsics within the 30 s that a candidate has; on two cores most candidates, or all, die of that.
"""

from __future__ import annotations

import shutil
import signal
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import wait
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytest_tvmtune.core.clock import monotonic_s
from pytest_tvmtune.core.error_text import typed_cause_of
from pytest_tvmtune.processes.forking import ForkedProcess
from pytest_tvmtune.relax import compat
from pytest_tvmtune.relax.devices.cross_compiler import export_library
from pytest_tvmtune.relax.tuning.candidates.tuner_forks import fork

if TYPE_CHECKING:
    from tvm.ir import IRModule
    from tvm.target import Target

LIBRARY = "candidate.so"
_ERROR = "error.txt"
# How a problem ends where a process was killed from outside.
KILLED = "crashed with SIGKILL"
BUILD_TIMEOUT_S = 60.0
BuildFunction = Callable[[str, str, Path, str], None]


@dataclass(frozen=True, kw_only=True)
class BuiltCandidate:
    """What became of one candidate: its library, to be discarded by its user, or why none."""

    library: Path | None = None
    problem: str = ""

    def discard(self) -> None:
        """Remove the library and its folder."""
        if self.library is not None:
            shutil.rmtree(self.library.parent, ignore_errors=True)


def build_library(mod_text: str, target_text: str, library: Path, compiler: str) -> None:
    """Build one candidate as a shared library, as MetaSchedule's default_build does."""
    from tvm.s_tir.transform import RemoveWeightLayoutRewriteBlock

    mod = RemoveWeightLayoutRewriteBlock(skip_tensor_rewrite=True)(compat.load_json(mod_text))
    export_library(compat.build_kernels(mod, target=compat.Target(target_text)), library, compiler)


@dataclass(kw_only=True)
class _UnderWay:
    index: int
    folder: Path
    process: ForkedProcess
    started_s: float = field(default_factory=monotonic_s)


def build_candidates(
    mods: Sequence[IRModule],
    target: Target,
    *,
    max_workers: int,
    timeout_s: float,
    scratch: Path,
    compiler: str = "",
    build: BuildFunction = build_library,
) -> list[BuiltCandidate]:
    """Build each module in a separate process; a crash or a time-out costs that module only.

    A module isn't to blame if its process was killed from outside: it is built once more.

    max_workers: processes at a time. timeout_s: for one candidate, from when its process starts.
    scratch: an existing folder for the libraries. compiler: links them, "" for this machine's own.
    """
    results: dict[int, BuiltCandidate] = {}
    waiting = list(enumerate(mods))[::-1]
    running: list[_UnderWay] = []
    try:
        while waiting or running:
            while waiting and len(running) < max_workers:
                index, mod = waiting.pop()
                folder = Path(tempfile.mkdtemp(prefix="candidate-", dir=scratch))
                process, connection = fork(
                    "tvmtune-build",
                    _run_candidate,
                    build,
                    compat.save_json(mod),
                    str(target),
                    folder,
                    compiler,
                )
                connection.close()
                running.append(_UnderWay(index=index, folder=folder, process=process))
            first_s = min(one.started_s for one in running) + timeout_s
            ends = [one.process.answers.fileno() for one in running]
            wait(ends, max(0.0, first_s - monotonic_s()))
            for one in list(running):
                result = _finish(one, timeout_s)
                if result is None:
                    continue
                running.remove(one)
                if result.problem.endswith(KILLED) and one.index not in results:
                    waiting.append((one.index, mods[one.index]))
                results[one.index] = result
    finally:
        for one in running:
            one.process.kill()
    return [results[index] for index in range(len(results))]


def _finish(one: _UnderWay, timeout_s: float) -> BuiltCandidate | None:
    """Return the result of a candidate that ended or ran out of time, else None."""
    process, problem = one.process, ""
    if process.poll() is None:
        if monotonic_s() - one.started_s < timeout_s:
            return None
        process.kill()
        problem = f"build: time-out after {timeout_s:g} s"
    code = process.wait()
    if not problem and code == 0:
        return BuiltCandidate(library=one.folder / LIBRARY)
    if not problem and code < 0:
        problem = f"build: crashed with {signal.Signals(-code).name}"
    if not problem:
        error = one.folder / _ERROR
        text = error.read_text() if error.is_file() else f"exit code {code}"
        problem = f"build: {text}"
    shutil.rmtree(one.folder, ignore_errors=True)
    return BuiltCandidate(problem=problem)


def _run_candidate(
    _connection: Any,
    build: BuildFunction,
    mod_text: str,
    target_text: str,
    folder: Path,
    compiler: str,
) -> None:
    try:
        build(mod_text, target_text, folder / LIBRARY, compiler)
    except Exception as error:
        (folder / _ERROR).write_text(typed_cause_of(error))
        raise
