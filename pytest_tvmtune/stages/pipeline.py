"""One case from its model to its findings: the stages in order, and their parts of its result.

`prepare` and the checks that the test asks for, both through `make_checks`; then
`conclude`, and `accept` where the whole test has passed. Stages take frozen values and return
frozen outcomes: only this module writes to a CaseResult.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytest_tvmtune.core.comparing.tolerances import ComparisonOptions
from pytest_tvmtune.core.errors import (
    BaselineError,
    ChildError,
    CompileError,
    DeviceError,
    ModelError,
    TvmTuneError,
)
from pytest_tvmtune.core.gating.accepted_baseline import Baseline
from pytest_tvmtune.core.gating.case_identity import golden_file_name, golden_identity
from pytest_tvmtune.core.gating.confidence_sequence import item_alpha
from pytest_tvmtune.core.results.budget_result import BudgetResult
from pytest_tvmtune.core.results.case_result import CaseResult
from pytest_tvmtune.core.results.comparison_result import GoldenResult, GoldenState
from pytest_tvmtune.core.results.failure import Failure, failure_of
from pytest_tvmtune.core.results.latency_comparison import UNTUNED
from pytest_tvmtune.core.settings.quantities import parse_threshold
from pytest_tvmtune.relax.installation.registrations_check import check_registrations
from pytest_tvmtune.stages.baseline_proposal import propose_baseline
from pytest_tvmtune.stages.case import Case
from pytest_tvmtune.stages.case_run import CaseRun
from pytest_tvmtune.stages.comparing.comparing_golden import (
    compare_with_golden,
    shown_path,
    write_proposal,
)
from pytest_tvmtune.stages.comparing.comparing_outputs import (
    compare_prepacked,
    compare_with_expected,
    tolerance_of,
)
from pytest_tvmtune.stages.comparing.shipped_test_data import call_with_data_set, compare_data_set
from pytest_tvmtune.stages.compiling import BuiltModel
from pytest_tvmtune.stages.explaining.divergence_search import diagnose
from pytest_tvmtune.stages.latency import paired_measurement
from pytest_tvmtune.stages.latency.budget_verdicts import judge_budgets
from pytest_tvmtune.stages.latency.kept_comparisons import compare_once
from pytest_tvmtune.stages.latency.latency_gate import judge_latency, latency_findings
from pytest_tvmtune.stages.latency.variant_comparison import (
    compare_with_variant,
    comparison_finding,
)
from pytest_tvmtune.stages.latency.variants import OtherCase, variant_of
from pytest_tvmtune.stages.outcomes import (
    ArtifactSizes,
    ComparisonOutcome,
    CompileOutcome,
    LatencyOutcome,
    SizesOutcome,
    TuningOutcome,
)
from pytest_tvmtune.stages.replaying import replay_records
from pytest_tvmtune.stages.size_growth import artifact_sizes, compare_sizes
from pytest_tvmtune.stages.tuned_build import (
    build_tuned,
    export_to_work_dir,
    load_and_call,
    recall_outcome,
)
from pytest_tvmtune.stages.tuning_tasks import (
    extract_tasks,
    import_work_dir,
    restore_accepted_records,
    tune_missing,
    untuned_sentence,
)
from pytest_tvmtune.store.accepted.baseline_files import (
    read_baseline,
    read_records,
    write_baseline,
)

if TYPE_CHECKING:
    from pytest_tvmtune.store.tuning.records import Workload


NO_GOLDEN = "no golden outputs yet; write them with --tvm-update-new, review them, and commit them"
ANY_MACHINE = (
    "a latency budget holds for one machine, and the test doesn't name it; add only_on= with a "
    "part of the name of its CPU"
)
# It returns findings, and raises TvmTuneError where it can't be made.
Check = Callable[[CaseRun], list[str]]


def make_checks(run: CaseRun, *checks: Check) -> list[str]:
    """Make all checks, and return the findings, which the result has from then on.

    If a check can't be made, the reason is its finding, and the other checks are still made. If the
    test has registered something that child processes lack, no check is made.
    """
    case, result = run.case, run.result
    stock_mod = None if case.model.is_ready else case.model.mod
    findings: list[str] = []
    for check in checks:
        try:
            check_registrations(case.store, stock_mod)
            findings += check(run)
        except TvmTuneError as error:
            result.note_failure(failure_of(error))
            findings.append(f"{case.label}: {error}")
        finally:
            result.logs = case.logs.written()
    result.findings += findings
    return findings


def prepare(run: CaseRun) -> list[str]:
    """Tune what is missing, compile what is new, load it, and call it once."""
    for doubt in run.doubts:
        warn(run, doubt)
    try:
        tune_and_build(run)
        run.loaded, run.outputs = load_and_call(run.case, run.built)
    except (ChildError, CompileError, ModelError) as error:
        if run.dims_doubt:
            error.add(f"This may be the reason: {run.dims_doubt}")
        raise
    run.result.transform_s = run.loaded.transform_s
    run.result.transform_extra_bytes = run.loaded.transform_extra_bytes
    if untuned := untuned_sentence(run.case, run.result.tasks):
        warn(run, untuned)
    return []


def tune_and_build(run: CaseRun) -> None:
    """Tune what is missing and compile what is new, or recall what that came to before."""
    case, result = run.case, run.result
    plan = extract_tasks(case)
    compiled = recall_outcome(case, plan)
    if compiled is None:
        result.warnings += import_work_dir(case, plan)
        accepted = partial(_accepted_records, run)
        result.tasks_restored += restore_accepted_records(case, plan, accepted)
        result.warnings += replay_records(case, plan, accepted)
        tuned = tune_missing(case, plan)
        _fold_tuning(result, tuned)
        if tuned.error is not None:
            raise tuned.error
        compiled = build_tuned(case, plan)
    run.built = compiled.built
    _fold_compiled(result, compiled, artifact_sizes(case, run.built.artifact))
    result.warnings += export_to_work_dir(case, run.built)


def check_outputs(run: CaseRun, *, expected: Any, comparison: ComparisonOptions) -> list[str]:
    """Compare the outputs with those that the test expects, or of the untuned, unpacked build."""
    found = compare_with_expected(run.case, run.built, run.outputs, expected, comparison)
    return _fold_comparison(run, run.case, run.built, found, comparison)


def check_prepacked(run: CaseRun, *, comparison: ComparisonOptions) -> list[str]:
    """Compare the outputs with those that prepack the other way round gives."""
    run.checked = True
    found = compare_prepacked(run.case, run.outputs, comparison)
    return _fold_comparison(run, run.case, run.built, found, comparison)


def check_data_sets(run: CaseRun, *, folders: Sequence[Path]) -> list[str]:
    """Compare with each folder of ONNX test data; `prepare` ran with the first folder's inputs.

    Data that can't be read or doesn't fit the model, and a crash with other inputs, are findings,
    too.
    """
    run.checked = True
    case, built, outputs = run.case, run.built, run.outputs
    findings = []
    for folder in folders:
        try:
            if folder != folders[0]:
                case, built, outputs = call_with_data_set(case, built, run.loaded, folder)
            found = compare_data_set(case, folder, outputs)
        except (ModelError, ChildError, DeviceError) as problem:
            run.result.note_failure(failure_of(problem))
            findings.append(f"{case.label}: {folder.name}: {problem}")
        else:
            findings += _fold_comparison(run, case, built, found, ComparisonOptions())
    return findings


def check_golden(run: CaseRun, *, comparison: ComparisonOptions) -> list[str]:
    """Compare the outputs with the golden outputs, or propose them where the run accepts them."""
    run.checked = True
    case, options = run.case, run.run_options
    found = compare_with_golden(
        case,
        run.golden_folder / golden_file_name(run.identity),
        golden_identity(run.identity),
        run.outputs,
        comparison,
        update=options.update,
        update_new=options.update_new,
    )
    run.golden_proposal = found.proposal
    _fold_golden(run, found.state)
    if found.proposal is not None:
        return []
    if found.problem:
        run.result.note_failure(Failure(kind="error"))
        return [f"{case.label}: {found.problem}"]
    if found.error is None:
        if options.strict:
            run.result.warnings.append(f"{case.label}: {NO_GOLDEN}")
        return []
    # With --tvm-update only what this very run wrote is not replaced.
    written = "another test item of this run wrote these golden outputs"
    hint = written if options.update else "accept with --tvm-update"
    compared = ComparisonOutcome(error=found.error, compared_with="given values")
    findings = _fold_comparison(run, case, run.built, compared, comparison)
    return [f"{finding}\n  {hint}" for finding in findings]


def check_latency(run: CaseRun) -> list[str]:
    """Compare the latency and the sizes with the accepted baseline's, or propose a baseline."""
    run.checked = True
    case, built, options = run.case, run.built, run.run_options
    baseline = _accepted_baseline(run)
    outcome = judge_latency(case, built, run.loaded, baseline, gated_before=run.latency_verdicts)
    run.latency_verdicts += 1
    _fold_latency(run.result, outcome)
    latency, findings = outcome.latency, []
    accepts = options.update or (options.update_new and latency.verdict == "NEW")
    if accepts:
        run.baseline_proposal = propose_baseline(case, run.identity, built, latency.samples_s)
        _fold_seconds(run.result, run.baseline_proposal.compiled_s)
    else:
        findings += latency_findings(case, outcome)
        if findings:
            run.result.note_failure(Failure(kind="regression"))
        if isinstance(baseline, Baseline):
            grown = compare_sizes(case, artifact_sizes(case, built.artifact), baseline)
            findings += _fold_sizes(run.result, grown)
        if latency.verdict == "NEW" and options.strict:
            run.result.warnings.append(f"{case.label}: {latency.message}")
    if not accepts and latency.verdict in {"INCONCLUSIVE", "INCOMPARABLE"}:
        warn(run, f"{latency.verdict}: {latency.message}")
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
        gated_before=run.latency_verdicts,
    )
    run.latency_verdicts += 1
    return _fold_budgets(run, budgets)


def compare_with_twins(run: CaseRun) -> list[str]:
    """Compare the latency with that of the model untuned, and without prepack, once for a build."""
    kept = compare_once(run.case, run.built, run.loaded)
    run.built = kept.built
    _fold_seconds(run.result, kept.compiled_s)
    asked = [one for one in run.result.latency_comparisons if one.asked]
    run.result.latency_comparisons = [*kept.comparisons, *asked]
    ratios = {one.compared_with: one.ratio for one in kept.comparisons}
    run.result.untuned_ratio = ratios.get(UNTUNED)
    for warning in kept.warnings:
        warn(run, warning)
    return []


# Those of a test that asks for its latency to be checked; each is made even if another can't be.
LATENCY_CHECKS: tuple[Check, ...] = (check_latency, check_budgets, compare_with_twins)


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
    _fold_seconds(run.result, variant.compiled_s)
    # Without a verdict that can fail, it's one interval, of the usual confidence.
    alpha = item_alpha(case.run_context.gated_items, run.latency_verdicts if may_fail else 0)
    run.latency_verdicts += may_fail
    comparison = replace(
        compare_with_variant(case, run.built, run.loaded, variant, alpha=alpha), asked=True
    )
    run.result.latency_comparisons.append(comparison)
    if not may_fail:
        return []
    for note in comparison.notes:
        warn(run, note)
    if comparison.verdict == "INCONCLUSIVE":
        words = f"next to {comparison.compared_with}: {comparison.latency.message}"
        warn(run, f"INCONCLUSIVE: {words}")
    finding = comparison_finding(case, comparison)
    if finding:
        run.result.note_failure(Failure(kind="regression"))
    return [finding] if finding else []


def all_checks(run: CaseRun, numbers: Check, comparison: ComparisonOptions) -> list[Check]:
    """Return every check that applies. numbers: the check of the outputs."""
    prepacked: list[Check] = [partial(check_prepacked, comparison=comparison)]
    return [numbers, *(prepacked if run.case.options.prepack else []), *LATENCY_CHECKS]


def time_kernels(run: CaseRun, *, budget_s: float) -> list[str]:
    """Time each kernel of the artifact, for about so many seconds."""
    run.result.kernels = paired_measurement.time_kernels(
        run.case, run.built.artifact, budget_s=budget_s
    )
    return []


def warn(run: CaseRun, message: str) -> None:
    """Warn of something unknown or incomplete; under --tvm-strict it fails the test."""
    warning = f"{run.case.label}: {message}"
    run.result.warnings.append(warning)
    if not run.run_options.strict:
        run.show_warning(warning)


def conclude(run: CaseRun) -> list[str]:
    """Return findings of a test whose checks have passed; called when the test is over."""
    if not run.checked:
        warn(run, "nothing was checked; call run.check(), or an assert_* method of the run")
    if not run.run_options.strict or not run.result.warnings:
        return []
    run.result.note_failure(Failure(kind="unknown"))
    return list(run.result.warnings)


def accept(run: CaseRun) -> None:
    """Write the proposals of this run, if any; called after the whole test has passed.

    Raises:
        GoldenError: Another item of this run wrote other golden outputs.
        StoreError: They can't be written.
    """
    if run.result.findings or not all(error.passed for error in run.result.errors):
        return  # also where the test itself swallowed the finding
    if run.golden_proposal is not None:
        written = write_proposal(run.case, run.golden_proposal)
        _fold_golden(run, "written" if written else "matched")
    if run.baseline_proposal is not None:
        accepted = run.baseline_proposal
        write_baseline(run.case.store, accepted.baseline, accepted.records)
        if run.result.latency is not None:
            run.result.latency = replace(run.result.latency, accepted=True)


def _accepted_records(run: CaseRun) -> Sequence[tuple[str, Workload]]:
    try:
        return read_records(run.case.store, run.identity)
    except BaselineError as error:
        warn(run, f"{error}; the baseline's records are not used")
        return []


def _accepted_baseline(run: CaseRun) -> Baseline | BaselineError | None:
    try:
        return read_baseline(run.case.store, run.identity)
    except BaselineError as error:
        return error


def _fold_seconds(result: CaseResult, compiled_s: float | None) -> None:
    if compiled_s is not None:
        result.compiled_now = True
        result.compile_s += compiled_s


def _fold_tuning(result: CaseResult, outcome: TuningOutcome) -> None:
    result.tuned_now = outcome.tuned
    result.trials_spent = outcome.trials_spent
    result.tuning_s = outcome.seconds
    result.tuning_curve = list(outcome.curve)


def _fold_compiled(result: CaseResult, outcome: CompileOutcome, sizes: ArtifactSizes) -> None:
    _fold_seconds(result, outcome.built.compiled_s)
    result.tasks = list(outcome.tasks)
    result.tasks_left_out = list(outcome.left_out)
    result.artifact = outcome.built.artifact.sha256
    result.library_bytes = sizes.library_bytes
    result.workspace_bytes = sizes.workspace_bytes


def _fold_comparison(
    run: CaseRun,
    case: Case,
    built: BuiltModel,
    outcome: ComparisonOutcome,
    comparison: ComparisonOptions,
) -> list[str]:
    """Keep a comparison; follow wrong numbers to the kernel where they begin."""
    result, error = run.result, outcome.error
    _fold_seconds(result, outcome.compiled_s)
    if error is None:
        # Untuned and unpacked itself: that nothing was compared shows in every report.
        return []
    run.checked = True
    result.errors.append(error)
    if error.passed:
        return []
    result.note_failure(Failure(kind="wrong numbers"))
    found = diagnose(
        case,
        built,
        error,
        outcome.compared_with,
        tolerance=tolerance_of(case, comparison),
        number=len(result.divergences) + 1,
    )
    _fold_seconds(result, found.compiled_s)
    if found.divergence is not None:
        result.divergences.append(found.divergence)
    where = found.sentence.replace("\n", "\n  ")
    return [f"{case.label}: wrong numbers against {error.against}: {error.message}\n  {where}"]


def _fold_golden(run: CaseRun, state: GoldenState) -> None:
    run.result.golden = GoldenResult(path=shown_path(run.identity), state=state)


def _fold_latency(result: CaseResult, outcome: LatencyOutcome) -> None:
    _fold_seconds(result, outcome.compiled_s)
    result.latency = outcome.latency
    result.kernels = outcome.kernels or result.kernels
    result.warnings += outcome.warnings


def _fold_budgets(run: CaseRun, budgets: Sequence[BudgetResult]) -> list[str]:
    run.result.latency_budgets = list(budgets)
    if budgets and run.run_options.strict and run.case.options.only_on is None:
        warn(run, ANY_MACHINE)
    findings = []
    for budget in budgets:
        if budget.verdict == "OVER BUDGET":
            run.result.note_failure(Failure(kind="over budget"))
            findings.append(f"{run.case.label}: over budget: {budget.message}")
        elif budget.verdict != "PASS":
            warn(run, f"{budget.verdict}: {budget.message}")
    return findings


def _fold_sizes(result: CaseResult, outcome: SizesOutcome) -> tuple[str, ...]:
    if outcome.accepted is not None:
        result.baseline_library_bytes = outcome.accepted.library_bytes
        result.baseline_workspace_bytes = outcome.accepted.workspace_bytes
    result.warnings += outcome.warnings
    if outcome.findings:
        result.note_failure(Failure(kind="growth"))
    return outcome.findings
