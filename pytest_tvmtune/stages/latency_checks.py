"""The checks of a case's latency, and their parts of its result; see pipeline.py."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from pytest_tvmtune.core.errors import BaselineError, TvmTuneError
from pytest_tvmtune.core.gating.accepted_baseline import Baseline
from pytest_tvmtune.core.gating.case_identity import Identity
from pytest_tvmtune.core.gating.confidence_sequence import item_alpha
from pytest_tvmtune.core.kernels.kernel_table import with_work
from pytest_tvmtune.core.results.budget_result import BudgetResult
from pytest_tvmtune.core.results.case_quantities import QUANTITIES
from pytest_tvmtune.core.results.failure import Failure
from pytest_tvmtune.core.results.latency_comparison import ANCHOR, UNTUNED, LatencyComparison
from pytest_tvmtune.core.settings.quantities import parse_threshold
from pytest_tvmtune.stages.baseline_proposal import propose_baseline
from pytest_tvmtune.stages.case_run import CaseRun, Check
from pytest_tvmtune.stages.growth import build_quantities, compare_quantities
from pytest_tvmtune.stages.latency import paired_measurement
from pytest_tvmtune.stages.latency.budget_verdicts import judge_budgets
from pytest_tvmtune.stages.latency.drift import drift_finding
from pytest_tvmtune.stages.latency.kept_comparisons import compare_once
from pytest_tvmtune.stages.latency.latency_gate import judge_latency, latency_findings
from pytest_tvmtune.stages.latency.machine_peak import machine_peak
from pytest_tvmtune.stages.latency.variant_comparison import (
    compare_with_variant,
    comparison_finding,
)
from pytest_tvmtune.stages.latency.variants import OtherCase, variant_of
from pytest_tvmtune.stages.outcomes import GrowthOutcome, LatencyOutcome
from pytest_tvmtune.stages.peak_memory import is_peak_memory_asked_for, kept_bytes, measure_once
from pytest_tvmtune.store.accepted.baseline_files import read_anchor, read_baseline
from pytest_tvmtune.store.layout import Store

ANY_MACHINE = (
    "a latency budget holds for one machine, and the test doesn't name it; add only_on= with a "
    "part of the name of its CPU"
)


def measure_peak_memory(run: CaseRun) -> list[str]:
    """Measure the memory of a call if a setting asks for it; the build keeps it."""
    if not is_peak_memory_asked_for(run.case):
        return []
    try:
        run.built = measure_once(run.case, run.built)
    except TvmTuneError as error:
        run.warn(f"the peak memory of a call is not known: {error}")
    run.result.peak_memory_bytes = kept_bytes(run.case, run.built)
    return []


def check_latency(run: CaseRun) -> list[str]:
    """Compare the latency and the sizes with the accepted artifacts, or propose this artifact."""
    run.checked = True
    case, built, options = run.case, run.built, run.run_options
    baseline = _accepted(read_baseline, run)
    anchor = None if options.update_anchor else _accepted(read_anchor, run)
    outcome = judge_latency(
        case, built, run.loaded, baseline, anchor=anchor, gated_before=run.decisions.made
    )
    run.decisions.made += outcome.decisions
    _fold_latency(run, outcome)
    latency, findings = outcome.latency, _fold_drift(run, outcome.drift)
    accepts_new = options.update_new or options.update_anchor
    accepts = options.update or (accepts_new and latency.verdict == "NEW")
    if accepts or options.update_anchor:
        proposal = propose_baseline(
            case, run.identity, built, latency.samples_s, trial_s=run.result.trial_s
        )
        run.baseline_proposal = proposal if accepts else None
        run.anchor_proposal = proposal.baseline if options.update_anchor else None
        run.result.note_compiled(proposal.compiled_s)
    if not accepts:
        gated = latency_findings(case, outcome)
        if gated:
            run.result.note_failure(Failure(kind="regression"))
        findings += gated
        if isinstance(baseline, Baseline):
            now = build_quantities(case, built, trial_s=run.result.trial_s)
            findings += _fold_growth(run, compare_quantities(case, now, baseline))
        if latency.verdict == "NEW" and options.strict:
            run.result.warnings.append(f"{case.label}: {latency.message}")
        if latency.verdict in {"INCONCLUSIVE", "INCOMPARABLE"}:
            run.warn(f"{latency.verdict}: {latency.message}")
    return findings


def check_budgets(run: CaseRun) -> list[str]:
    """Compare the latency with the budgets of the test."""
    if not run.case.options.max_latency:
        return []
    latency = run.result.latency
    budgets = judge_budgets(
        run.case,
        run.built.artifact,
        expected_s=(latency.median_s if latency else None) or 0.0,
        gated_before=run.decisions.made,
    )
    run.decisions.made += 1
    return _fold_budgets(run, budgets)


def compare_with_twins(run: CaseRun) -> list[str]:
    """Compare the latency with that of the model untuned, and without prepack, once for a build."""
    kept = compare_once(run.case, run.built, run.loaded)
    run.built = kept.built
    run.result.note_compiled(kept.compiled_s)
    asked = [one for one in run.result.latency_comparisons if one.asked]
    run.result.latency_comparisons = [*kept.comparisons, *asked]
    ratios = {one.compared_with: one.ratio for one in kept.comparisons}
    run.result.untuned_ratio = ratios.get(UNTUNED)
    for warning in kept.warnings:
        run.warn(warning)
    return []


def time_kernels_if_asked(run: CaseRun) -> list[str]:
    """Time each kernel of the artifact if `roofline` asks for it, and nothing has timed them."""
    if not run.case.options.roofline:
        return []
    if run.result.kernels is None:
        try:
            time_kernels(run, budget_s=paired_measurement.KERNELS_S)
        except TvmTuneError as error:
            run.warn(f"its kernels could not be measured: {error}")
    if (kernels := run.result.kernels) is not None and kernels.peak is None:
        try:
            peak = machine_peak(run.case)
            run.result.kernels = with_work(kernels, run.built.artifact.manifest.kernels, peak)
        except TvmTuneError as error:
            run.warn(f"the roofline is not known: {error}")
    return []


# Those of a test that asks for its latency to be checked; each is made even if another can't be.
LATENCY_CHECKS: tuple[Check, ...] = (
    measure_peak_memory,
    check_latency,
    check_budgets,
    compare_with_twins,
    time_kernels_if_asked,
)


def compare_latency(
    run: CaseRun, other: str | Path | OtherCase, threshold: str | None, *, may_fail: bool
) -> list[str]:
    """Compare the latency with another variant of the model.

    threshold: None for the case's own, without its acceptance. may_fail: whether a slowdown is a
    finding.
    """
    run.checked = run.checked or may_fail
    options = run.case.options
    limit = (
        replace(options.threshold, accepted_ratio=0.0)
        if threshold is None
        else parse_threshold(threshold, "threshold")
    )
    case = replace(run.case, options=replace(options, threshold=limit))
    variant = variant_of(case, run.built, other)
    run.result.trials_spent += variant.trials_spent
    run.result.note_compiled(variant.compiled_s)
    # Without a verdict that can fail, it's one interval, of the usual confidence.
    alpha = item_alpha(case.run_context.gated_items, run.decisions.made if may_fail else 0)
    run.decisions.made += may_fail
    comparison = replace(
        compare_with_variant(case, run.built, run.loaded, variant, alpha=alpha), asked=True
    )
    run.result.latency_comparisons.append(comparison)
    if not may_fail:
        return []
    for note in comparison.notes:
        run.warn(note)
    if comparison.verdict == "INCONCLUSIVE":
        words = f"next to {comparison.compared_with}: {comparison.latency.message}"
        run.warn(f"INCONCLUSIVE: {words}")
    finding = comparison_finding(case, comparison)
    if finding:
        run.result.note_failure(Failure(kind="regression"))
    return [finding] if finding else []


def time_kernels(run: CaseRun, *, budget_s: float) -> list[str]:
    """Time each kernel of the artifact, for about so many seconds."""
    run.result.kernels = paired_measurement.time_kernels(
        run.case, run.built.artifact, budget_s=budget_s
    )
    return []


def _accepted(
    read: Callable[[Store, Identity], Baseline | None], run: CaseRun
) -> Baseline | BaselineError | None:
    try:
        return read(run.case.store, run.identity)
    except BaselineError as error:
        return error


def _fold_latency(run: CaseRun, outcome: LatencyOutcome) -> None:
    result = run.result
    result.note_compiled(outcome.compiled_s)
    result.latency = outcome.latency
    result.kernels = outcome.kernels or result.kernels
    result.warnings += outcome.warnings


def _fold_drift(run: CaseRun, drift: LatencyComparison | None) -> list[str]:
    if drift is None:
        return []
    others = [one for one in run.result.latency_comparisons if one.compared_with != ANCHOR]
    run.result.latency_comparisons = [*others, drift]
    if drift.verdict in {"INCONCLUSIVE", "INCOMPARABLE"}:
        run.warn(f"{drift.verdict}: drift: {drift.latency.message}")
    finding = drift_finding(run.case, drift)
    if not finding:
        return []
    run.result.note_failure(Failure(kind="drift"))
    return [finding]


def _fold_budgets(run: CaseRun, budgets: Sequence[BudgetResult]) -> list[str]:
    run.result.latency_budgets = list(budgets)
    if budgets and run.run_options.strict and run.case.options.only_on is None:
        run.warn(ANY_MACHINE)
    findings = []
    for budget in budgets:
        if budget.verdict == "OVER BUDGET":
            run.result.note_failure(Failure(kind="over budget"))
            findings.append(f"{run.case.label}: over budget: {budget.message}")
        elif budget.verdict != "PASS":
            run.warn(f"{budget.verdict}: {budget.message}")
    return findings


def _fold_growth(run: CaseRun, outcome: GrowthOutcome) -> tuple[str, ...]:
    result, accepted = run.result, outcome.accepted
    if accepted is not None:
        for one in QUANTITIES:
            setattr(result, f"baseline_{one.field}", one.now(accepted))
    result.warnings += outcome.warnings
    if outcome.findings:
        result.note_failure(Failure(kind="growth"))
    return outcome.findings
