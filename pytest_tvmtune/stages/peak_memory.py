"""Stage: the resident memory that a call takes at most, in a separate process.

The memory of a build is measured if a setting asks for it, and kept with the build.
"""

from __future__ import annotations

from dataclasses import replace

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
    """Return a build with its peak memory, which stays unknown on a device.

    Raises:
        ChildError: The process that measures it crashes or hangs.
    """
    on = f"{case.machine.cpu}, {case.num_threads} threads"
    kept = built.build.peak_memory
    if kept is not None and kept.on == on:
        return built
    measured = measured_bytes(case, built.artifact)
    if measured is None:
        return replace(built, build=replace(built.build, peak_memory=None))
    # Another process may have added something to it.
    known = builds.read_build(case.store, built.key) or built.build
    known = replace(known, peak_memory=builds.KeptPeakMemory(on=on, size_bytes=measured))
    builds.write_build(case.store, built.key, known)
    return replace(built, build=known)


def measured_bytes(case: Case, artifact: Artifact) -> int | None:
    """Return the peak memory of a call of an artifact; None where it can't be measured.

    Raises:
        ChildError: The process that measures it crashes or hangs.
    """
    if case.remote is not None:
        return None
    request = peak_memory_job.Request(
        library=artifact.library, manifest=artifact.manifest, call=entry_call(case)
    )
    with running(case):
        return run_job(peak_memory_job.JOB, request, job_context(case, "run")).peak_bytes
