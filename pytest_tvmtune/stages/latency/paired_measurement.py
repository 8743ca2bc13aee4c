"""Stages: measure artifacts side by side, as a whole or kernel by kernel, in a child."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from pytest_tvmtune.core.errors import TvmTuneError
from pytest_tvmtune.core.gating.confidence_sequence import least_epochs
from pytest_tvmtune.core.kernels.kernel_table import KernelTable, table_of, with_work
from pytest_tvmtune.relax.measuring import call_times_job, gate_job, kernel_times_job
from pytest_tvmtune.relax.measuring.epochs import ComparedArtifacts
from pytest_tvmtune.relax.measuring.gate_job import Limit
from pytest_tvmtune.stages.case import Case
from pytest_tvmtune.stages.devices.device_job import exclusive_machine, run_device_job
from pytest_tvmtune.stages.devices.loaded_model import LoadedModel
from pytest_tvmtune.stages.job_context import entry_call, job_context
from pytest_tvmtune.stages.latency.accepted_artifact import AcceptedArtifact
from pytest_tvmtune.stages.latency.machine_peak import machine_peak
from pytest_tvmtune.stages.stage_progress import held
from pytest_tvmtune.store.artifacts import Artifact

# As `measure`: case, old and new artifact, then its keywords.
Measure = Callable[..., gate_job.Result]
GATE_GRACE_S = 300.0
KERNELS_S = 2.0
# Of the time that the gate may take for an item, for single calls.
_CALLS_SHARE = 0.5
# Of a slow model: each call has one before it that isn't timed.
_CALLS_PER_BUDGET = 60
# Of one epoch: each side once unmeasured, then in rounds, again where parameters trade places.
_CALLS_PER_EPOCH = 24


@dataclass(frozen=True, kw_only=True, eq=False)
class Anchor:
    """An accepted anchor, which is measured with the baseline. limit: of the ratio to it."""

    accepted: AcceptedArtifact
    limit: Limit


def measure(
    case: Case,
    old: Artifact,
    new: Artifact,
    *,
    alpha: float,
    expected_s: float,
    anchor: Anchor | None = None,
    max_time_s: float | None = None,
    tell_noise: bool = True,
) -> gate_job.Result:
    """Return interleaved samples of both artifacts, taken in a child until their ratio is decided.

    Args:
        case: Whose artifacts they are; its threshold is the slowdown that fails.
        old: The baseline.
        new: What is compared with it.
        alpha: Of this one decision.
        expected_s: What a call takes, roughly.
        anchor: What `new` is compared with as well.
        max_time_s: None for the case's own.
        tell_noise: Whether the old artifact is measured against itself where nothing was decided.

    Raises:
        ChildError: A side crashes or hangs.
    """
    max_time_s = case.options.max_time_s if max_time_s is None else max_time_s
    limit = Limit(threshold=case.options.threshold, alpha=alpha)
    epochs = max(least_epochs(one.alpha) for one in (limit, anchor.limit if anchor else limit))
    calls = _CALLS_PER_EPOCH * epochs
    # However slow the model is, so many calls are made.
    timeout_s = GATE_GRACE_S + 10 * (max_time_s + calls * expected_s)
    compared = _compared(case, old, new, timeout_s)
    request = gate_job.Request(
        compared=replace(compared, others=(anchor.accepted.artifact,)) if anchor else compared,
        max_time_s=max_time_s,
        limit=limit,
        other_limits=(anchor.limit,) if anchor else (),
        tell_noise=tell_noise,
    )
    context = job_context(case, "gate", timeout_s=timeout_s, where="new interpreter")
    with held(case, exclusive_machine(case.remote)):
        return run_device_job(gate_job.JOB, request, context)


def measure_finals(
    case: Case,
    now: Artifact,
    rivals: Sequence[Artifact],
    *,
    limit: Limit,
    max_time_s: float,
    expected_s: float,
) -> gate_job.Result:
    """Return samples of an artifact next to several others, as `measure` does; limit: of each.

    However slow the model is, the time is kept to the end of an epoch.
    """
    calls = _CALLS_PER_EPOCH * len(rivals)
    timeout_s = GATE_GRACE_S + 10 * (max_time_s + calls * expected_s)
    first, *others = rivals
    request = gate_job.Request(
        compared=replace(_compared(case, first, now, timeout_s), others=tuple(others)),
        max_time_s=max_time_s,
        limit=limit,
        other_limits=(limit,) * len(others),
        tell_noise=False,
        is_brief=True,
    )
    context = job_context(case, "gate", timeout_s=timeout_s, where="new interpreter")
    with held(case, exclusive_machine(case.remote)):
        return run_device_job(gate_job.JOB, request, context)


def time_kernels(
    case: Case, now: Artifact, old: Artifact | None = None, *, budget_s: float = KERNELS_S
) -> KernelTable:
    """Return what each kernel of an artifact takes, in turn with another artifact's.

    budget_s: seconds to spend, at least three rounds. Raises ChildError, and ModelError where the
    entry calls other kernels each time.
    """
    timeout_s = GATE_GRACE_S + case.options.timeout_s
    request = kernel_times_job.Request(
        compared=_compared(case, old or now, now, timeout_s), alone=old is None, budget_s=budget_s
    )
    try:
        peak = machine_peak(case)
    except TvmTuneError:
        peak = None  # who asks for the roofline asks for the reason
    context = job_context(case, "kernels", timeout_s=timeout_s, where="new interpreter")
    with held(case, exclusive_machine(case.remote)):
        times = run_device_job(kernel_times_job.JOB, request, context)
    table = table_of(
        times.now,
        now.manifest.kernels,
        times.overhead_s,
        times.baseline,
        old.manifest.kernels if old else {},
    )
    return with_work(table, now.manifest.kernels, peak)


def kernels_of_both(
    case: Case, now: Artifact, old: Artifact
) -> tuple[KernelTable | None, tuple[str, ...]]:
    """Return what each kernel takes, or None and why that isn't known."""
    try:
        return time_kernels(case, now, old), ()
    except TvmTuneError as error:
        return None, (f"its kernels could not be measured: {error}",)


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
        compared=_compared(case, artifact, artifact, timeout_s),
        budget_s=budget_s,
        most_calls=most_calls,
    )
    context = job_context(case, "gate", timeout_s=timeout_s, where="new interpreter")
    with held(case, exclusive_machine(case.remote)):
        return run_device_job(call_times_job.JOB, request, context).calls_s


def rough_s(case: Case, loaded: LoadedModel) -> float:
    """Return the seconds of one call, of very few."""
    with held(case, exclusive_machine(case.remote)):
        return min(loaded.sample(samples=3, min_sample_s=0.0, budget_s=0.05))


def _compared(case: Case, old: Artifact, new: Artifact, timeout_s: float) -> ComparedArtifacts:
    return ComparedArtifacts(
        baseline=old,
        now=new,
        call=entry_call(case, timeout_s=timeout_s),
        cold_cache=case.options.cold_cache,
        seed=secrets.randbits(32),
    )
