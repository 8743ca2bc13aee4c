"""Running a job that calls a library, where that may be on a device: a lost device is no result."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

from pytest_tvmtune.core.errors import ChildError, DeviceLostError
from pytest_tvmtune.core.job_stage import JobStage
from pytest_tvmtune.processes.job import Job, JobContext, Progress, Request, Result
from pytest_tvmtune.processes.run_job import run_job
from pytest_tvmtune.stages.case import Case
from pytest_tvmtune.store.locks import exclusive_cores

# A server that dies twice in the same place dies of what runs there.
_ATTEMPTS = 2


def exclusive_machine(case: Case) -> AbstractContextManager[None]:
    """Hold alone what a case's times are taken on; a session holds its device."""
    return exclusive_cores() if case.remote is None else nullcontext()


def run_device_job(
    case: Case, job: Job[Request, Result, Progress], request: Request, context: JobContext
) -> Result:
    """Run a job as `run_job` does; once more, on another server, where the device was lost.

    Args:
        case: Whose job it is.
        job: What is run.
        request: What it is asked.
        context: How it runs.

    Returns:
        What the job returned.

    Raises:
        TvmTuneError: As `run_job`.
        ChildError: The device's server ended during the job, each time.

    """
    for attempt in range(1, _ATTEMPTS + 1):
        try:
            return run_job(job, request, context)
        except DeviceLostError as error:
            if attempt == _ATTEMPTS:
                raise ChildError(
                    f"{error} ({attempt} times); the model may crash the server there",
                    stage=JobStage("on the device"),
                    cause="lost device",
                ) from error
    raise AssertionError(case)
