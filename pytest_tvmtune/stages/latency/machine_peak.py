"""Stage: what this machine can do at most, measured by each process; the store keeps the best."""

from __future__ import annotations

from pathlib import Path

from pytest_tvmtune.core.errors import LackingError
from pytest_tvmtune.core.kernels.roofline import MachinePeak
from pytest_tvmtune.processes.run_job import run_job
from pytest_tvmtune.relax.measuring import machine_peak_job
from pytest_tvmtune.stages.case import Case
from pytest_tvmtune.stages.job_context import job_context
from pytest_tvmtune.stages.stage_progress import held
from pytest_tvmtune.store.locks import exclusive_cores
from pytest_tvmtune.store.machine_peaks import keep_peak

# A peak that was measured under load is too low, so each process measures it once more.
_MEASURED: dict[tuple[Path, str], MachinePeak] = {}


def machine_peak(case: Case) -> MachinePeak:
    """Return the peak of this machine with a case's number of threads.

    Raises:
        LackingError: The case runs on a device, or there is no C++ compiler.
        TvmTuneError: It can't be measured for another reason.
    """
    if case.remote is not None:
        raise LackingError("the peak of a device behind TVM RPC can't be measured")
    machine = case.machine
    key = (
        f"{machine.cpu}, {machine.usable_cores} cores, {case.num_threads} threads, "
        f"{machine_peak_job.method_digest()}"
    )
    place = (case.store.root, key)
    if place not in _MEASURED:
        request = machine_peak_job.Request(num_threads=case.num_threads)
        with held(case, exclusive_cores()):
            peak = run_job(machine_peak_job.JOB, request, job_context(case, "kernels"))
            _MEASURED[place] = keep_peak(case.store, key, peak)
    return _MEASURED[place]
