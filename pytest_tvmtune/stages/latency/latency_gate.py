"""Stage: measure the artifact together with the accepted baseline, and decide the verdict."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from statistics import median

from pytest_tvmtune.core.errors import BaselineError, ChildError, CompileError
from pytest_tvmtune.core.gating.accepted_baseline import Baseline
from pytest_tvmtune.core.gating.confidence_sequence import item_alpha
from pytest_tvmtune.core.gating.verdict import Verdict
from pytest_tvmtune.core.job_stage import LOADING_BASELINE
from pytest_tvmtune.core.results.latency_result import LatencyResult
from pytest_tvmtune.relax.measuring import gate_job
from pytest_tvmtune.report.kernel_lines import slower_kernels_line
from pytest_tvmtune.stages.case import Case
from pytest_tvmtune.stages.compiling import BuiltModel
from pytest_tvmtune.stages.devices.device_job import exclusive_machine
from pytest_tvmtune.stages.devices.loaded_model import LoadedModel
from pytest_tvmtune.stages.explaining.accepted_versions import versions_of_both, without_content
from pytest_tvmtune.stages.explaining.slowdown_explanation import explain_change
from pytest_tvmtune.stages.latency import paired_measurement
from pytest_tvmtune.stages.latency.accepted_artifact import AcceptedArtifact, open_accepted
from pytest_tvmtune.stages.latency.drift import drift_of, open_anchor
from pytest_tvmtune.stages.latency.measured_latency import latency_of
from pytest_tvmtune.stages.latency.paired_measurement import Anchor, Measure
from pytest_tvmtune.stages.outcomes import LatencyOutcome
from pytest_tvmtune.stages.stage_progress import held, under_way
from pytest_tvmtune.store.artifacts import Artifact

ADVISORY_S = 0.3
ADVISORY_SAMPLES = 20
ADVISORY_SAMPLE_S = 0.004
REPAIR = (
    "import the baseline with `tvmtune baselines import FILE`, or accept this run with --tvm-update"
)


def judge_latency(
    case: Case,
    built: BuiltModel,
    loaded: LoadedModel,
    baseline: Baseline | BaselineError | None,
    *,
    anchor: Baseline | BaselineError | None = None,
    gated_before: int = 0,
    measure: Measure = paired_measurement.measure,
) -> LatencyOutcome:
    """Return the latency verdict against a baseline, and, if there is an anchor, against that.

    Args:
        case: What is gated.
        built: Its artifact.
        loaded: The same, loaded.
        baseline: What was accepted, or why that can't be used. Without anything to compare the
            verdict is NEW, or INCOMPARABLE with the reason.
        anchor: The accepted anchor, or why that can't be used.
        gated_before: How many decisions this test item made before.
        measure: Takes the samples that decide.

    Raises:
        ChildError: This artifact crashes or hangs.
    """
    old = open_accepted(case, built, baseline, "baseline")
    is_gated = isinstance(old, AcceptedArtifact) and not old.same_code
    opened = open_accepted(case, built, anchor, "anchor")
    drift = None
    if opened is not None:
        drift = open_anchor(case, opened, gated_before=gated_before + is_gated)
    if isinstance(old, AcceptedArtifact) and is_gated:
        outcome = _gated(
            case,
            built,
            loaded,
            old,
            anchor=drift if isinstance(drift, Anchor) else None,
            alpha=item_alpha(case.run_context.gated_items, gated_before),
            measure=measure,
        )
    else:
        outcome = LatencyOutcome(latency=_unmeasured(case, loaded, old))
    acceptance = case.options.acceptance
    if acceptance is not None:
        message = f"{outcome.latency.message}; {acceptance.sentence}"
        latency = replace(outcome.latency, message=message, acceptance=acceptance)
        outcome = replace(outcome, latency=latency)
    decisions = is_gated + isinstance(drift, Anchor)
    if isinstance(drift, Anchor):
        drift = drift_of(case, built, drift, outcome.measured, measure=measure)
    return replace(outcome, drift=drift, decisions=decisions)


def _gated(
    case: Case,
    built: BuiltModel,
    loaded: LoadedModel,
    old: AcceptedArtifact,
    *,
    anchor: Anchor | None,
    alpha: float,
    measure: Measure,
) -> LatencyOutcome:
    try:
        measured = _measured(case, old, built.artifact, alpha=alpha, anchor=anchor, measure=measure)
    except BaselineError as error:
        return LatencyOutcome(latency=_unmeasured(case, loaded, error))
    latency = _decided(case, old.baseline, measured, alpha=alpha)
    outcome = explain_change(case, built, old.baseline, old.artifact, latency)
    latency = _with_origin(outcome.latency, old.baseline)
    return replace(outcome, latency=latency, measured=measured)


def _unmeasured(
    case: Case, loaded: LoadedModel, old: AcceptedArtifact | BaselineError | None
) -> LatencyResult:
    """Return the verdict where nothing is measured next to the baseline."""
    if old is None:
        message = "no baseline yet; accept this run with --tvm-update-new"
        return _without_comparison(case, loaded, "NEW", message)
    if isinstance(old, BaselineError):
        return _without_comparison(case, loaded, "INCOMPARABLE", f"{old}; {REPAIR}")
    latency = _without_comparison(case, loaded, "PASS", "same code as the baseline")
    latency = replace(latency, same_code=True, baseline_median_s=old.baseline.median_s)
    return _with_origin(latency, old.baseline)


def _with_origin(latency: LatencyResult, baseline: Baseline) -> LatencyResult:
    accepted_on = {**without_content(baseline.fingerprint), "at": baseline.accepted_at}
    return replace(latency, accepted_median_s=baseline.median_s, accepted_on=accepted_on)


def latency_findings(case: Case, outcome: LatencyOutcome) -> list[str]:
    """Return what fails the test: a regression, with its cause and the kernels that cost more."""
    latency = outcome.latency
    if latency.verdict != "REGRESSION":
        return []
    why = [f"cause: {latency.cause.message}"] if latency.cause else []
    if outcome.kernels is not None:
        why.append(slower_kernels_line(outcome.kernels))
    lines = "".join(f"  {line}\n" for line in why)
    return [f"{case.label}: {latency.message}\n{lines}  accept with --tvm-update"]


def _without_comparison(
    case: Case, loaded: LoadedModel, verdict: Verdict, message: str
) -> LatencyResult:
    """Return a verdict that no measurement made, with a few samples that decide nothing."""
    timing = under_way(case.run_context.on_progress, case.label, "measuring the latency")
    with held(case, exclusive_machine(case.remote)), timing:
        samples = loaded.sample(
            samples=ADVISORY_SAMPLES, min_sample_s=ADVISORY_SAMPLE_S, budget_s=ADVISORY_S
        )
    return LatencyResult(
        verdict=verdict,
        message=message,
        median_s=median(samples),
        threshold=case.options.threshold.text,
        num_threads=loaded.num_threads,
        samples_s=tuple(samples),
    )


def _measured(
    case: Case,
    old: AcceptedArtifact,
    new: Artifact,
    *,
    alpha: float,
    anchor: Anchor | None,
    measure: Measure,
) -> gate_job.Result:
    """Measure both and the anchor, or both without it. Raises BaselineError and ChildError."""
    measured = partial(
        measure, case, old.artifact, new, alpha=alpha, expected_s=old.baseline.median_s
    )
    try:
        return measured(anchor=anchor)
    except (ChildError, CompileError) as error:
        if isinstance(error, ChildError) and error.stage.kind == LOADING_BASELINE.kind:
            raise BaselineError(f"the baseline's artifact can't be run: {error}") from error
        if anchor is None:
            raise
        # The anchor, or memory for three, may be at fault: what the gate does without it counts.
        return measured(anchor=None)


def _decided(
    case: Case, baseline: Baseline, measured: gate_job.Result, *, alpha: float
) -> LatencyResult:
    latency = latency_of(
        measured, case.options.threshold, alpha=alpha, is_remote=case.remote is not None
    )
    accepted, here = versions_of_both(case.store, baseline)
    if accepted == here:
        return latency
    versions = (
        f"; the baseline was built with TVM {accepted[0]} (ffi {accepted[1]}), "
        f"and this run with TVM {here[0]} (ffi {here[1]})"
    )
    return replace(latency, message=latency.message + versions)
