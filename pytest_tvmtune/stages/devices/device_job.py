"""Running a job that calls a library, where that may be on a device: a lost device is no result."""

from __future__ import annotations

import contextlib

from pytest_tvmtune.core.errors import LOST_DEVICE, ChildError, DeviceLostError
from pytest_tvmtune.core.job_stage import JobStage
from pytest_tvmtune.processes.job import Job, JobContext, Progress, Request, Result
from pytest_tvmtune.processes.run_job import run_job
from pytest_tvmtune.stages.case import Case
from pytest_tvmtune.store.locks import exclusive_cores


def exclusive_machine(case: Case) -> contextlib.AbstractContextManager[None]:
    """Hold alone what a case's times are taken on; a session holds its device."""
    return exclusive_cores() if case.remote is None else contextlib.nullcontext()


def run_device_job(
    job: Job[Request, Result, Progress], request: Request, context: JobContext
) -> Result:
    """Run a job as `run_job` does; once more, on another server, where the device was lost.

    Args:
        job: What is run.
        request: What it is asked.
        context: How it runs.

    Returns:
        What the job returned.

    Raises:
        TvmTuneError: As `run_job`.
        ChildError: The device's server ended during the job, both times.

    """
    with contextlib.suppress(DeviceLostError):
        return run_job(job, request, context)
    try:
        return run_job(job, request, context)
    except DeviceLostError as error:
        raise ChildError(
            f"{error}; the same happened before, so the model may crash the server",
            stage=JobStage("on the device"),
            cause=LOST_DEVICE,
        ) from error
