"""Running a job that calls a library, where that may be on a device: a lost device is no result."""

from __future__ import annotations

import contextlib

from pytest_tvmtune.core.errors import LOST_DEVICE, ChildError, DeviceLostError
from pytest_tvmtune.core.job_stage import JobStage
from pytest_tvmtune.machine.remote_device import RemoteDevice
from pytest_tvmtune.processes.job import Job, JobContext, Progress, Request, Result
from pytest_tvmtune.processes.run_job import run_job
from pytest_tvmtune.store.locks import exclusive_cores


def exclusive_machine(remote: RemoteDevice | None) -> contextlib.AbstractContextManager[None]:
    """Hold alone what times are taken on; a session holds its device."""
    return exclusive_cores() if remote is None else contextlib.nullcontext()


def run_device_job(
    job: Job[Request, Result, Progress], request: Request, context: JobContext
) -> Result:
    """Run a job that calls a model's library, as `run_where_a_device_is`.

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
    try:
        return run_where_a_device_is(job, request, context)
    except DeviceLostError as error:
        raise ChildError(
            f"{error}; the same happened before, so the model may crash the server",
            stage=JobStage("on the device"),
            cause=LOST_DEVICE,
        ) from error


def run_where_a_device_is(
    job: Job[Request, Result, Progress], request: Request, context: JobContext
) -> Result:
    """Run a job as `run_job` does; once more, on another server, where the device was lost.

    Raises:
        TvmTuneError: As `run_job`.
        DeviceLostError: The device's server ended during the job, both times.

    """
    with contextlib.suppress(DeviceLostError):
        return run_job(job, request, context)
    return run_job(job, request, context)
