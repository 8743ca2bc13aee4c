"""Stage: measure the artifact together with the accepted baseline, and decide the verdict."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from statistics import median

from pytest_tvmtune.core.errors import BaselineError, ChildError, StoreError, counted
from pytest_tvmtune.core.gating.accepted_baseline import Baseline
from pytest_tvmtune.core.gating.confidence_sequence import (
    MIN_EPOCHS,
    decide,
    evidence_of,
    item_alpha,
    resolvable_ratio,
    spread,
)
from pytest_tvmtune.core.gating.ratio_text import gate_words
from pytest_tvmtune.core.gating.verdict import Verdict
from pytest_tvmtune.core.results.latency_result import LatencyResult
from pytest_tvmtune.core.settings.quantities import Threshold
from pytest_tvmtune.machine.timing_hindrances import timing_hindrances
from pytest_tvmtune.relax.devices.cpu_features import lacking_features
from pytest_tvmtune.relax.measuring import measure_pair_job
from pytest_tvmtune.report.kernel_lines import slower_kernels_line
from pytest_tvmtune.stages.case import Case
from pytest_tvmtune.stages.compiling import BuiltModel
from pytest_tvmtune.stages.devices.device_job import exclusive_machine
from pytest_tvmtune.stages.devices.loaded_model import LoadedModel
from pytest_tvmtune.stages.explaining.accepted_versions import versions_of_both, without_content
from pytest_tvmtune.stages.explaining.slowdown_explanation import explain_change
from pytest_tvmtune.stages.latency import paired_measurement
from pytest_tvmtune.stages.outcomes import LatencyOutcome
from pytest_tvmtune.stages.stage_progress import held, under_way
from pytest_tvmtune.store import artifacts
from pytest_tvmtune.store.artifacts import Artifact
from pytest_tvmtune.store.tuning.records import comparable_target

# As `paired_measurement.measure`: case, old and new artifact, then its keywords.
Measure = Callable[..., measure_pair_job.Result]
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
    gated_before: int = 0,
    measure: Measure = paired_measurement.measure,
) -> LatencyOutcome:
    """Return the latency verdict against a baseline.

    Args:
        case: What is gated.
        built: Its artifact.
        loaded: The same, loaded.
        baseline: What was accepted, or why that can't be used. Without anything to compare the
            verdict is NEW, or INCOMPARABLE with the reason.
        gated_before: How many verdicts this test item asked for before.
        measure: Takes the samples that decide.

    Raises:
        ChildError: This artifact crashes or hangs.
    """
    outcome = _judge(case, built, loaded, baseline, gated_before=gated_before, measure=measure)
    acceptance = case.options.acceptance
    if acceptance is None:
        return outcome
    message = f"{outcome.latency.message}; {acceptance.sentence}"
    latency = replace(outcome.latency, message=message, acceptance=acceptance)
    return replace(outcome, latency=latency)


def _judge(
    case: Case,
    built: BuiltModel,
    loaded: LoadedModel,
    baseline: Baseline | BaselineError | None,
    *,
    gated_before: int,
    measure: Measure,
) -> LatencyOutcome:
    if baseline is None:
        message = "no baseline yet; accept this run with --tvm-update-new"
        return LatencyOutcome(latency=_without_comparison(case, loaded, "NEW", message))
    try:
        if isinstance(baseline, BaselineError):
            raise baseline
        accepted = _comparable(case, baseline)
        if _is_same_code(case, accepted, built.artifact, baseline):
            latency = _without_comparison(case, loaded, "PASS", "same code as the baseline")
            latency = replace(latency, same_code=True, baseline_median_s=baseline.median_s)
            outcome = LatencyOutcome(latency=latency)
        else:
            alpha = item_alpha(case.run_context.gated_items, gated_before)
            latency = _gate(case, baseline, accepted, built.artifact, alpha=alpha, measure=measure)
            outcome = explain_change(case, built, baseline, accepted, latency)
    except BaselineError as error:
        message = f"{error}; {REPAIR}"
        return LatencyOutcome(latency=_without_comparison(case, loaded, "INCOMPARABLE", message))
    accepted_on = {**without_content(baseline.fingerprint), "at": baseline.accepted_at}
    latency = replace(outcome.latency, accepted_median_s=baseline.median_s, accepted_on=accepted_on)
    return replace(outcome, latency=latency)


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


def _comparable(case: Case, baseline: Baseline) -> Artifact:
    """Return the baseline's artifact. Raises BaselineError with the reason it can't be used."""
    if baseline.signature != case.model.signature.to_json():
        raise BaselineError("the model's interface changed since the baseline was accepted")
    # `host` is another CPU on every machine; what was accepted on one may well run on the next.
    same = comparable_target(baseline.target) == comparable_target(case.target_json)
    if not same and not case.options.target.is_host:
        raise BaselineError(f"the baseline was built for another target: {baseline.target}")
    # What a device lacks isn't known; code for this very target has just run there.
    if case.remote is None and (lacking := lacking_features(baseline.target)):
        raise BaselineError(
            f"the baseline was built for a CPU with {', '.join(lacking)}, which this CPU "
            f"({case.machine.cpu}) lacks"
        )
    try:
        return artifacts.find(case.store, baseline.artifact)
    except StoreError as error:
        raise BaselineError(f"the baseline's {error}") from error


def _is_same_code(case: Case, old: Artifact, new: Artifact, baseline: Baseline) -> bool:
    return (
        old.sha256 == new.sha256
        and baseline.num_threads == case.num_threads
        and len(set(versions_of_both(case.store, baseline))) == 1
    )


def _gate(
    case: Case,
    baseline: Baseline,
    old: Artifact,
    new: Artifact,
    *,
    alpha: float,
    measure: Measure,
) -> LatencyResult:
    try:
        measured = measure(case, old, new, alpha=alpha, expected_s=baseline.median_s)
    except ChildError as error:
        if error.stage.kind != "loading the baseline":
            raise
        raise BaselineError(f"the baseline's artifact can't be run: {error}") from error
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


def latency_of(
    measured: measure_pair_job.Result,
    threshold: Threshold,
    *,
    alpha: float,
    is_remote: bool = False,
) -> LatencyResult:
    """Return the decision on a measurement.

    alpha: of this one decision. is_remote: whether it was taken on a device.
    """
    epochs = measured.epochs
    evidence = evidence_of(epochs, alpha)
    verdict = decide(evidence, threshold, final=True)
    _, limit = threshold.limits(evidence.baseline_median_s)
    resolvable = (
        resolvable_ratio(evidence_of(measured.noise, alpha)) if measured.noise else math.inf
    )
    interval = (evidence.low, evidence.high) if math.isfinite(evidence.high) else None
    message = gate_words(evidence.ratio, interval, 1 - 2 * alpha, limit)
    if verdict == "INCONCLUSIVE":
        message += f"; undecided after {measured.spent_s:.1f} s"
        message += f"; {_noise_words(resolvable, is_remote=is_remote)}" if measured.noise else ""
    if measured.placements < min(MIN_EPOCHS, evidence.epochs):
        message += (
            f"; a side was placed in memory only {counted(measured.placements, 'time')}, and the "
            "effect of its placement is not averaged out"
        )
    return LatencyResult(
        verdict=verdict,
        message=message,
        median_s=evidence.now_median_s,
        baseline_median_s=evidence.baseline_median_s,
        slowdown_ratio=evidence.ratio,
        interval=interval,
        confidence=1 - 2 * alpha,
        threshold=threshold.text,
        limit_ratio=limit,
        epochs=evidence.epochs,
        pairs=evidence.pairs,
        placements=measured.placements,
        spent_s=measured.spent_s,
        noise=spread(epochs),
        resolvable_ratio=resolvable if math.isfinite(resolvable) else None,
        num_threads=measured.num_threads,
        epoch_ratios=tuple(math.exp(epoch.log_ratio) for epoch in epochs),
        samples_s=tuple(s for epoch in epochs for s in epoch.now_s),
        baseline_samples_s=tuple(s for epoch in epochs for s in epoch.baseline_s),
    )


def _noise_words(resolvable: float, *, is_remote: bool) -> str:
    """Say which slowdowns the machine can decide now, and name disturbances of measurements."""
    if not math.isfinite(resolvable):
        words = "a comparison of the baseline with itself was undecided, too"
    else:
        words = (
            f"a comparison of the baseline with itself shows that "
            f"{'the device' if is_remote else 'this machine'} can now decide "
            f"slowdowns of {100 * (resolvable - 1):.1f} % or more"
        )
    if not is_remote and (found := timing_hindrances()):
        words += f" (possible disturbances: {', '.join(found)})"
    return words
