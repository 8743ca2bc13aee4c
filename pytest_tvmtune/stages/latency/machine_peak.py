"""Stage: what this machine can do at most, measured once and kept in the store."""

from __future__ import annotations

import contextlib

from pytest_tvmtune.core.errors import TvmTuneError
from pytest_tvmtune.core.kernels.roofline import MachinePeak
from pytest_tvmtune.processes.run_job import run_job
from pytest_tvmtune.relax.measuring import machine_peak_job
from pytest_tvmtune.stages.case import Case
from pytest_tvmtune.stages.job_context import job_context
from pytest_tvmtune.stages.stage_progress import held
from pytest_tvmtune.store.locks import exclusive_cores
from pytest_tvmtune.store.machine_peaks import read_peak, write_peak


def machine_peak(case: Case) -> MachinePeak | None:
    """Return the peak of this machine with a case's number of threads.

    None for a device, and where it can't be measured; the log has the reason.
    """
    if case.remote is not None:
        return None
    machine = case.machine
    key = (
        f"{machine.cpu}, {machine.usable_cores} cores, {case.num_threads} threads, "
        f"{machine_peak_job.method_digest()}"
    )
    known = read_peak(case.store, key)
    if known is not None:
        return known
    request = machine_peak_job.Request(num_threads=case.num_threads)
    with contextlib.suppress(TvmTuneError), held(case, exclusive_cores()):
        peak = run_job(machine_peak_job.JOB, request, job_context(case, "kernels"))
        write_peak(case.store, key, peak)
        return peak
    return None
