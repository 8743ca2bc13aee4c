"""Stages: measure two artifacts side by side, as a whole or kernel by kernel, in a child."""

from __future__ import annotations

import secrets

from pytest_tvmtune.core.gating.confidence_sequence import least_epochs
from pytest_tvmtune.core.kernels.kernel_table import KernelTable, table_of
from pytest_tvmtune.relax.measuring import call_times_job, kernel_times_job, measure_pair_job
from pytest_tvmtune.relax.measuring.epochs import ArtifactPair
from pytest_tvmtune.stages.case import Case
from pytest_tvmtune.stages.devices.device_job import exclusive_machine, run_device_job
from pytest_tvmtune.stages.devices.loaded_model import LoadedModel
from pytest_tvmtune.stages.job_context import entry_call, job_context
from pytest_tvmtune.stages.stage_progress import held
from pytest_tvmtune.store.artifacts import Artifact

GATE_GRACE_S = 300.0
KERNELS_S = 2.0
# Of the time that the gate may take for an item, for single calls.
_CALLS_SHARE = 0.5
# Of a slow model: each call has one before it that isn't timed.
_CALLS_PER_BUDGET = 60
# Of one epoch: both sides once unmeasured, then in pairs, twice over where parameters trade places.
_CALLS_PER_EPOCH = 16


def measure(
    case: Case,
    old: Artifact,
    new: Artifact,
    *,
    alpha: float,
    expected_s: float,
    max_time_s: float | None = None,
    tell_noise: bool = True,
) -> measure_pair_job.Result:
    """Return both artifacts' paired samples, taken in a child until their ratio is decided.

    alpha: of this one decision. expected_s: what a call takes, roughly. max_time_s: None for the
    case's own. tell_noise: where nothing was decided, the old artifact is measured against itself
    as well. Raises ChildError.
    """
    max_time_s = case.options.max_time_s if max_time_s is None else max_time_s
    calls = _CALLS_PER_EPOCH * least_epochs(alpha)
    # However slow the model is, so many calls are made.
    timeout_s = GATE_GRACE_S + 10 * (max_time_s + calls * expected_s)
    request = measure_pair_job.Request(
        pair=_pair(case, old, new, timeout_s),
        max_time_s=max_time_s,
        alpha=alpha,
        threshold=case.options.threshold,
        tell_noise=tell_noise,
    )
    context = job_context(case, "gate", timeout_s=timeout_s, where="new interpreter")
    with held(case, exclusive_machine(case.remote)):
        return run_device_job(measure_pair_job.JOB, request, context)


def time_kernels(
    case: Case, now: Artifact, old: Artifact | None = None, *, budget_s: float = KERNELS_S
) -> KernelTable:
    """Return what each kernel of an artifact takes, in turn with another artifact's.

    budget_s: seconds to spend, at least three rounds. Raises ChildError, and ModelError where the
    entry calls other kernels each time.
    """
    timeout_s = GATE_GRACE_S + case.options.timeout_s
    request = kernel_times_job.Request(
        pair=_pair(case, old or now, now, timeout_s), alone=old is None, budget_s=budget_s
    )
    context = job_context(case, "kernels", timeout_s=timeout_s, where="new interpreter")
    with held(case, exclusive_machine(case.remote)):
        times = run_device_job(kernel_times_job.JOB, request, context)
    return table_of(
        times.now,
        now.manifest.kernels,
        times.overhead_s,
        times.baseline,
        old.manifest.kernels if old else {},
    )


def time_calls(
    case: Case, artifact: Artifact, *, expected_s: float, most_calls: int
) -> tuple[float, ...]:
    """Return the seconds of single calls, in order. Raises ChildError.

    expected_s: of a call, roughly. most_calls: to time.
    """
    budget_s = _CALLS_SHARE * case.options.max_time_s
    # However slow the model is, so many calls are made.
    timeout_s = GATE_GRACE_S + 10 * (budget_s + _CALLS_PER_BUDGET * expected_s)
    request = call_times_job.Request(
        pair=_pair(case, artifact, artifact, timeout_s), budget_s=budget_s, most_calls=most_calls
    )
    context = job_context(case, "gate", timeout_s=timeout_s, where="new interpreter")
    with held(case, exclusive_machine(case.remote)):
        return run_device_job(call_times_job.JOB, request, context).calls_s


def rough_s(case: Case, loaded: LoadedModel) -> float:
    """Return the seconds of one call, of very few."""
    with held(case, exclusive_machine(case.remote)):
        return min(loaded.sample(samples=3, min_sample_s=0.0, budget_s=0.05))


def _pair(case: Case, old: Artifact, new: Artifact, timeout_s: float) -> ArtifactPair:
    return ArtifactPair(
        baseline=old,
        now=new,
        call=entry_call(case, timeout_s=timeout_s),
        cold_cache=case.options.cold_cache,
        seed=secrets.randbits(32),
    )
