"""One case from its model to its findings: the stages in order, and their parts of its result.

`prepare` and the checks that the test asks for, both through `make_checks`; then
`conclude`, and `accept` where the whole test has passed. Stages take frozen values and return
frozen outcomes: only this module and `latency_checks.py` write to a CaseResult.
"""

from __future__ import annotations

from collections.abc import Sequence
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
from pytest_tvmtune.core.gating.case_identity import golden_file_name, golden_identity
from pytest_tvmtune.core.results.case_quantities import QUANTITIES
from pytest_tvmtune.core.results.case_result import CaseResult
from pytest_tvmtune.core.results.comparison_result import GoldenResult, GoldenState
from pytest_tvmtune.core.results.failure import Failure, failure_of
from pytest_tvmtune.relax.installation.registrations_check import check_registrations
from pytest_tvmtune.stages.case import Case
from pytest_tvmtune.stages.case_run import CaseRun, Check
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
from pytest_tvmtune.stages.finals_in_model import build_with_finals
from pytest_tvmtune.stages.growth import build_quantities
from pytest_tvmtune.stages.latency_checks import LATENCY_CHECKS
from pytest_tvmtune.stages.outcomes import (
    ComparisonOutcome,
    CompileOutcome,
    Quantities,
    TuningOutcome,
)
from pytest_tvmtune.stages.replaying import replay_records
from pytest_tvmtune.stages.tuned_build import (
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
    read_records,
    write_anchor,
    write_baseline,
)

if TYPE_CHECKING:
    from pytest_tvmtune.store.tuning.records import Workload


NO_GOLDEN = "no golden outputs yet; write them with --tvm-update-new, review them, and commit them"


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
        run.warn(doubt)
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
        run.warn(untuned)
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
        compiled, finals = build_with_finals(case, plan, tuned)
        result.finals_in_model = list(finals.results)
        result.note_compiled(finals.compiled_s)
    run.built = compiled.built
    taken = build_quantities(case, run.built, trial_s=result.trial_s)
    _fold_compiled(result, compiled, taken)
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


def all_checks(run: CaseRun, numbers: Check, comparison: ComparisonOptions) -> list[Check]:
    """Return every check that applies. numbers: the check of the outputs."""
    prepacked: list[Check] = [partial(check_prepacked, comparison=comparison)]
    return [numbers, *(prepacked if run.case.options.prepack else []), *LATENCY_CHECKS]


def conclude(run: CaseRun) -> list[str]:
    """Return findings of a test whose checks have passed; called when the test is over."""
    if not run.checked:
        run.warn("nothing was checked; call run.check(), or an assert_* method of the run")
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
    if run.anchor_proposal is not None:
        write_anchor(run.case.store, run.anchor_proposal)
        run.result.anchored = True


def _accepted_records(run: CaseRun) -> Sequence[tuple[str, Workload]]:
    try:
        return read_records(run.case.store, run.identity)
    except BaselineError as error:
        run.warn(f"{error}; the baseline's records are not used")
        return []


def _fold_tuning(result: CaseResult, outcome: TuningOutcome) -> None:
    result.tuned_now = bool(outcome.tuned)
    result.trials_spent = outcome.trials_spent
    result.tuning_ended_by = outcome.ended_by
    result.tuning_s = outcome.seconds
    result.trial_s = outcome.trial_s
    result.tuning_curve = list(outcome.curve)


def _fold_compiled(result: CaseResult, outcome: CompileOutcome, taken: Quantities) -> None:
    result.note_compiled(outcome.built.compiled_s)
    result.tasks = list(outcome.tasks)
    result.tasks_left_out = list(outcome.left_out)
    result.artifact = outcome.built.artifact.sha256
    for one in QUANTITIES:
        setattr(result, one.field, one.now(taken))


def _fold_comparison(
    run: CaseRun,
    case: Case,
    built: BuiltModel,
    outcome: ComparisonOutcome,
    comparison: ComparisonOptions,
) -> list[str]:
    """Keep a comparison; follow wrong numbers to the kernel where they begin."""
    result, error = run.result, outcome.error
    result.note_compiled(outcome.compiled_s)
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
    result.note_compiled(found.compiled_s)
    if found.divergence is not None:
        result.divergences.append(found.divergence)
    where = found.sentence.replace("\n", "\n  ")
    return [f"{case.label}: wrong numbers against {error.against}: {error.message}\n  {where}"]


def _fold_golden(run: CaseRun, state: GoldenState) -> None:
    run.result.golden = GoldenResult(path=shown_path(run.identity), state=state)
