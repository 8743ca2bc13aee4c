"""A MetaSchedule builder that forks: one process a candidate, nothing imported in it.

The stock LocalBuilder starts a new pool for every batch, each worker of which imports TVM and the
intrinsics within the 30 s that a candidate has; on two cores most candidates, or all, die of that.
"""

from __future__ import annotations

import fcntl
import multiprocessing
import os
import select
import shutil
import signal
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from multiprocessing import forkserver
from multiprocessing.connection import wait
from pathlib import Path
from typing import Any

from tvm.ir import load_json, save_json
from tvm.ir.utils import derived_object
from tvm.s_tir.meta_schedule.builder import BuilderInput, BuilderResult, PyBuilder

from pytest_tvmtune.relax.tuner.preload import KIND_VARIABLE

LIBRARY = "candidate.so"
_ERROR = "error.txt"
Build = Callable[[str, str, Path], None]


def build_library(mod_text: str, target_text: str, library: Path) -> None:
    """Build one candidate as a shared library, as MetaSchedule's default_build does."""
    import tvm
    from tvm.driver import build
    from tvm.s_tir.transform import RemoveWeightLayoutRewriteBlock

    mod = RemoveWeightLayoutRewriteBlock(skip_tensor_rewrite=True)(load_json(mod_text))
    build(mod, target=tvm.target.Target(target_text)).export_library(str(library))


@dataclass(kw_only=True)
class _Candidate:
    """A candidate under way. folder: removed by MetaSchedule once it was measured."""

    index: int
    folder: Path
    process: Any
    started_s: float = field(default_factory=time.monotonic)


@derived_object
class ForkingBuilder(PyBuilder):  # type: ignore[misc]
    """Builds each candidate in a process of its own, forked from a server that is ready.

    max_workers: processes at a time. timeout_s: for one candidate, from when its process starts.
    A crash or a time-out costs that candidate only.
    """

    def __init__(
        self,
        *,
        kind: str,
        max_workers: int,
        timeout_s: float,
        scratch: Path,
        build: Build = build_library,
    ) -> None:
        super().__init__()
        self._max_workers = max_workers
        self._timeout_s = timeout_s
        self._scratch = scratch
        self._build = build
        os.environ[KIND_VARIABLE] = kind
        self._context = multiprocessing.get_context("forkserver")
        self._context.set_forkserver_preload(["pytest_tvmtune.relax.tuner.preload"])
        # Now, not at the first candidate: it imports while the search makes candidates.
        forkserver.ensure_running()

    def build(self, build_inputs: Sequence[BuilderInput]) -> list[BuilderResult]:
        """Build a batch; each result is a library's path, or what went wrong."""
        results: dict[int, BuilderResult] = {}
        waiting = list(enumerate(build_inputs))[::-1]
        running: list[_Candidate] = []
        while waiting or running:
            while waiting and len(running) < self._max_workers:
                running.append(self._start(*waiting.pop()))
            wait([candidate.process.sentinel for candidate in running], self._time_left(running))
            for candidate in list(running):
                result = self._finish(candidate)
                if result is not None:
                    results[candidate.index] = result
                    running.remove(candidate)
        return [results[index] for index in range(len(results))]

    def _start(self, index: int, build_input: BuilderInput) -> _Candidate:
        folder = Path(tempfile.mkdtemp(prefix="candidate-", dir=self._scratch))
        arguments = (self._build, save_json(build_input.mod), str(build_input.target), folder)
        process = self._context.Process(target=_run_candidate, args=arguments, daemon=True)
        process.start()
        return _Candidate(index=index, folder=folder, process=process)

    def _time_left(self, running: Sequence[_Candidate]) -> float:
        first = min(candidate.started_s for candidate in running)
        return max(0.0, first + self._timeout_s - time.monotonic())

    def _finish(self, candidate: _Candidate) -> BuilderResult | None:
        """Return the result of a candidate that ended or ran out of time, else None."""
        process, folder = candidate.process, candidate.folder
        problem = ""
        if process.is_alive():
            if time.monotonic() - candidate.started_s < self._timeout_s:
                return None
            process.kill()
            problem = f"build: time-out after {self._timeout_s:g} s"
        process.join()
        if not problem and process.exitcode == 0:
            return BuilderResult(str(folder / LIBRARY), None)
        if not problem and process.exitcode < 0:
            problem = f"build: crashed with {signal.Signals(-process.exitcode).name}"
        if not problem:
            error = folder / _ERROR
            text = error.read_text() if error.is_file() else f"exit code {process.exitcode}"
            problem = f"build: {text}"
        shutil.rmtree(folder, ignore_errors=True)
        return BuilderResult(None, problem)


def _run_candidate(build: Build, mod_text: str, target_text: str, folder: Path) -> None:
    _die_with_tuner()
    try:
        build(mod_text, target_text, folder / LIBRARY)
    except Exception as error:
        (folder / _ERROR).write_text(f"{type(error).__name__}: {error}")
        raise


def _die_with_tuner() -> None:
    """Ask the kernel to end this process when the tuner dies, whatever the build is doing.

    The forkserver's end can't tell it: each candidate holds the pipe that keeps the server alive,
    so one that hangs would keep both for ever. The tuner alone holds the other end of the
    sentinel; when that closes, SIGIO comes, whose default is to terminate.
    Source: fcntl(2), O_ASYNC; multiprocessing.popen_forkserver.
    """
    parent = multiprocessing.parent_process()
    assert parent is not None
    tuner: int = parent.sentinel
    fcntl.fcntl(tuner, fcntl.F_SETOWN, os.getpid())
    fcntl.fcntl(tuner, fcntl.F_SETFL, fcntl.fcntl(tuner, fcntl.F_GETFL) | os.O_ASYNC)
    if select.select([tuner], [], [], 0)[0]:
        raise SystemExit("the tuner is dead already")
