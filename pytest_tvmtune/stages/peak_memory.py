"""Stage: the resident memory that a call takes at most, in a separate process.

The memory of a build is measured if a setting asks for it, and kept with the build.
"""

from __future__ import annotations

from dataclasses import replace

from pytest_tvmtune.core.errors import LackingError
from pytest_tvmtune.processes.run_job import run_job
from pytest_tvmtune.relax.measuring import peak_memory_job
from pytest_tvmtune.stages.case import Case
from pytest_tvmtune.stages.compiling import BuiltModel
from pytest_tvmtune.stages.job_context import entry_call, job_context
from pytest_tvmtune.stages.stage_progress import running
from pytest_tvmtune.store import builds
from pytest_tvmtune.store.artifacts import Artifact


def is_peak_memory_asked_for(case: Case) -> bool:
    """Whether a setting asks for the peak memory of a call."""
    return case.options.peak_memory or case.options.max_peak_memory_growth is not None


def measure_once(case: Case, built: BuiltModel) -> BuiltModel:
    """Return a build with its peak memory.

    Raises:
        LackingError: It can't be measured here.
        ChildError: The process that measures it crashes or hangs.
    """
    if kept_bytes(case, built) is not None:
        return built
    kept = builds.KeptPeakMemory(on=_on(case), size_bytes=measured_bytes(case, built.artifact))
    # Another process may have added something to it.
    known = builds.read_build(case.store, built.key) or built.build
    known = replace(known, peak_memory=kept)
    builds.write_build(case.store, built.key, known)
    return replace(built, build=known)


def kept_bytes(case: Case, built: BuiltModel) -> int | None:
    """Return the peak memory that a build keeps, None where none is asked for or kept."""
    kept = built.build.peak_memory
    if kept is None or kept.on != _on(case) or not is_peak_memory_asked_for(case):
        return None
    return kept.size_bytes


def measured_bytes(case: Case, artifact: Artifact) -> int:
    """Return the peak memory of a call of an artifact.

    Raises:
        LackingError: It can't be measured here.
        ChildError: The process that measures it crashes or hangs.
    """
    if case.remote is not None:
        raise LackingError("it can't be measured on a device behind TVM RPC")
    request = peak_memory_job.Request(
        library=artifact.library, manifest=artifact.manifest, call=entry_call(case)
    )
    with running(case):
        return run_job(peak_memory_job.JOB, request, job_context(case, "run")).peak_bytes


def _on(case: Case) -> str:
    digest = peak_memory_job.method_digest()
    return f"{case.machine.cpu}, {case.num_threads} threads, {digest}"
