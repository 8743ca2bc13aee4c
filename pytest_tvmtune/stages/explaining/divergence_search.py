"""Stage: what is behind wrong numbers: the first kernel that diverges from another build."""

from __future__ import annotations

from dataclasses import replace
from shlex import quote

from pytest_tvmtune.core.comparing.accumulated_rounding import rounding_share
from pytest_tvmtune.core.comparing.divergence import Divergence
from pytest_tvmtune.core.comparing.tolerances import Tolerance
from pytest_tvmtune.core.errors import TvmTuneError
from pytest_tvmtune.core.results.comparison_result import ErrorResult
from pytest_tvmtune.relax.diagnosing import divergence_job
from pytest_tvmtune.relax.diagnosing.reproducer import SCRIPT
from pytest_tvmtune.stages.case import Case
from pytest_tvmtune.stages.compiling import BuiltModel
from pytest_tvmtune.stages.devices.device_job import run_device_job
from pytest_tvmtune.stages.job_context import entry_call, job_context
from pytest_tvmtune.stages.outcomes import ComparedWith, Diagnosis
from pytest_tvmtune.stages.tuned_build import counterpart_build, reference_build
from pytest_tvmtune.stages.tuning_tasks import stored_workloads
from pytest_tvmtune.store.layout import slug

UNTUNED = "the untuned, unpacked build"
PLAIN, PREPACKED = "not prepacked", "prepacked"
_BEFORE_TUNING = (
    "the fault is in the model, in its import, or in the code that TVM generates without tuning"
)


def diagnose(
    case: Case,
    built: BuiltModel,
    error: ErrorResult,
    compared_with: ComparedWith,
    *,
    tolerance: Tolerance,
    number: int,
) -> Diagnosis:
    """Return where wrong numbers begin; what can't be found out leaves the finding as it is.

    Args:
        case: Whose numbers they are.
        built: What computed them.
        error: How far they are off.
        compared_with: What they differ from.
        tolerance: How far a kernel's may be off.
        number: Of this finding among those of its test: each keeps its own reproducer.
    """
    compiled_s = None
    try:
        sides = _sides(case, built, error, compared_with)
        if isinstance(sides, str):
            return Diagnosis(sentence=sides)
        now, other, against = sides
        compiled_s = (other if now is built else now).compiled_s
        found = first_divergence(
            case, now, other, against=against, tolerance=tolerance, number=number
        )
    except TvmTuneError as failure:
        sentence = f"the first diverging kernel could not be found: {failure}"
        return Diagnosis(sentence=sentence, compiled_s=compiled_s)
    if found.kind == "none":
        more = _elsewhere(case, found, error, compared_with)
    elif found.no_reproducer:
        more = f"\nno reproducer: {found.no_reproducer}"
    else:
        more = f"\nreproducer: python {quote(f'{found.reproducer}/{SCRIPT}')}"
    sentence = f"{found.sentence()}{more}"
    return Diagnosis(sentence=sentence, divergence=found, compiled_s=compiled_s)


def _sides(
    case: Case, built: BuiltModel, error: ErrorResult, compared_with: ComparedWith
) -> tuple[BuiltModel, BuiltModel, str] | str:
    """Return the build with wrong numbers, one to compare its kernels with, and its name.

    Where there is no other, or it would show nothing: the reason.
    """
    if compared_with == "counterpart":
        sides = built, counterpart_build(case)
        return (*(sides if case.options.prepack else sides[::-1]), PLAIN)
    if case.model.library is not None:
        return "a compiled library has no other build to compare its kernels with"
    if compared_with != "untuned build" and any(one.problem for one in error.outputs):
        return f"all builds of this model return the same shapes and types, so {_BEFORE_TUNING}"
    reference = reference_build(case, built)
    if reference is None:
        return _untuned_itself(case, error)
    return built, reference, UNTUNED


def _untuned_itself(case: Case, error: ErrorResult) -> str:
    """Return a possible reason for wrong numbers of the build that others are compared with."""
    share, dtype = _rounding(case, error)
    if not share:
        return f"this is {UNTUNED} itself, so {_BEFORE_TUNING}"
    return (
        f"this is {UNTUNED} itself. No error exceeds {share:.2g} of the output's root mean square, "
        f"so accumulated {dtype} rounding can explain the errors. If this accuracy is enough, set "
        f"rtol= and atol=, or statistic='mean'. Otherwise, {_BEFORE_TUNING}"
    )


def _elsewhere(
    case: Case, found: Divergence, error: ErrorResult, compared_with: ComparedWith
) -> str:
    """Return where a fault is that no kernel shows, as far as it's known."""
    if not found.compared or found.compared < found.calls:
        return ""
    is_rounding = not any(one.not_finite or one.problem for one in error.outputs)
    if compared_with != "given values":
        return (
            "; small differences add up"
            if is_rounding
            else "; rounding can't explain NaN, Inf, or a shape that differs"
        )
    older = "; the fault exists without tuning and prepacking, too"
    return f"{older}, or small differences add up" if _rounding(case, error)[0] else older


def _rounding(case: Case, error: ErrorResult) -> tuple[float, str]:
    signature = case.model.signature
    dtypes = {spec.dtype for spec in (*signature.inputs, *signature.params)}
    return rounding_share(error.outputs, dtypes)


def first_divergence(
    case: Case,
    now: BuiltModel,
    reference: BuiltModel,
    *,
    against: str,
    tolerance: Tolerance,
    number: int = 1,
) -> Divergence:
    """Return where a build's kernels begin to compute something else than another build's.

    Both are called once, in a child. A reproducer is left in the store where a kernel is found.

    Args:
        case: Whose builds they are.
        now: The build with wrong numbers.
        reference: The other build.
        against: Its name in messages.
        tolerance: How far a kernel's outputs may be off.
        number: Of the reproducer, among those of one test.

    Raises:
        ChildError: One of them crashes or hangs.
    """
    build = f"{'prepacked' if now.plan.prepack else 'plain'}-{now.artifact.sha256[:8]}"
    reproducer = case.store.reproducers / f"{slug(case.label)}-{build}-{number}"
    request = divergence_job.Request(
        now=now.artifact,
        reference=reference.artifact,
        call=entry_call(case),
        tolerance=replace(tolerance, statistic=None),
        against=against,
        reproducer=reproducer,
        records=_records(case, now),
    )
    return run_device_job(divergence_job.JOB, request, job_context(case, "divergence"))


def _records(case: Case, built: BuiltModel) -> dict[str, divergence_job.AppliedRecord]:
    """Return the records that were applied, by digest."""
    applied = {kernel.record for kernel in built.artifact.manifest.kernels.values()}
    stored = stored_workloads(case, built.plan)
    return {
        record.digest: divergence_job.AppliedRecord(
            workload=(str(int(workload.shash, 16)), workload.ir), record=record.data
        )
        for workload in stored.values()
        for record in workload.records
        if record.digest in applied
    }
