"""Stages: a case tuned and built, and what it is compared with; from the store wherever it can."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytest_tvmtune.core.error_text import cause_of
from pytest_tvmtune.core.errors import (
    ChildError,
    CompileError,
    ModelError,
    TvmTuneError,
    listed,
)
from pytest_tvmtune.core.results.task_result import Task, TaskResult, TaskState
from pytest_tvmtune.machine.fingerprint import fingerprint
from pytest_tvmtune.stages.case import Case, module_parts, tuning_key
from pytest_tvmtune.stages.compiling import BuiltModel, build, find_built, load
from pytest_tvmtune.stages.crashed_kernel import FAULTS
from pytest_tvmtune.stages.refused_records import refuse_bad_records
from pytest_tvmtune.stages.size_growth import note_sizes
from pytest_tvmtune.stages.stage_progress import running
from pytest_tvmtune.stages.tuning_tasks import (
    best_records,
    import_work_dir,
    plan,
    restore_accepted_records,
    stored_workloads,
    tune_missing,
)
from pytest_tvmtune.store import builds
from pytest_tvmtune.store.tuning.cached_outcome import (
    CachedOutcome,
    FileVersions,
    file_versions,
    read_cached_outcome,
    write_cached_outcome,
)
from pytest_tvmtune.store.tuning.records import Record, Workload
from pytest_tvmtune.store.tuning.work_dirs import append_to_work_dir, read_work_dir

if TYPE_CHECKING:
    from pytest_tvmtune.relax.measuring.session import Session


def tune_and_build(
    case: Case, accepted: Callable[[], Sequence[tuple[str, Workload]]] = tuple
) -> BuiltModel:
    """Tune what is missing, compile what is new, and note both in the case's result.

    accepted: reads (target key, workload) of the records that the case's baseline keeps.
    """
    options = case.options
    tasks = plan(case, prepack=options.prepack)
    key = _cached_outcome_key(
        case,
        prepack=options.prepack,
        asked=[options.trials, options.max_trials_per_task, options.tuning],
    )
    known = None
    if options.work_dir is None and options.tuning != "refresh":
        known = _recall(case, key, tasks)
    if known is None:
        target = tuning_key(case)
        import_work_dir(case, tasks, target)
        restore_accepted_records(case, tasks, target, accepted)
        tune_missing(case, tasks, target)
        known = _build_and_keep(case, key, tasks, prepack=options.prepack)
    built, cached = known
    result = case.result
    result.tasks = list(cached.tasks)
    result.tasks_left_out = list(cached.left_out)
    result.artifact = built.artifact.sha256
    note_sizes(case, built.artifact)
    if options.work_dir is not None:
        stored = stored_workloads(case, tasks, tuning_key(case))
        cpu = fingerprint().cpu
        append_to_work_dir(options.work_dir, [one.deployed(cpu) for one in stored.values()])
        if not_applied := _only_in_work_dir(options.work_dir, tasks, built):
            result.warnings.append(
                f"work_dir: a stock build with it isn't what was tested: it holds records of "
                f"{listed(not_applied)}, which are not applied here, since the untuned kernel is "
                "faster or they were refused; export to another one"
            )
    return built


def _only_in_work_dir(work_dir: Path, tasks: Sequence[Task], built: BuiltModel) -> list[str]:
    """Return the tasks that have records in a work_dir and none in a build."""
    held = {one.shash for one in read_work_dir(work_dir)[0] if one.records}
    return [task.name for task in tasks if task.shash in held - set(built.build.applied)]


def load_and_call(case: Case, built: BuiltModel) -> tuple[Session, Any]:
    """Return an artifact loaded in this process, and its outputs; never while others measure."""
    from pytest_tvmtune.relax.measuring.session import call

    with running(case):
        session = load(case, built)
        return session, call(session)


def reference_build(case: Case, built: BuiltModel) -> BuiltModel | None:
    """Return the untuned, unpacked build: what TVM computes by itself.

    None where that is the very library under test: comparing it with itself would show nothing.
    Of a model put through the user's own pipeline it is the model before that; of a ready library
    there is none.
    """
    if case.model.library is not None:
        return None
    if case.model.original is not None:
        case = replace(case, model=case.model.original)
    reference = build(case, prepack=False, records={})
    return None if reference.artifact.sha256 == built.artifact.sha256 else reference


def reference_outputs(case: Case, built: BuiltModel) -> Any:
    """Return the outputs of the reference build, None where there is none."""
    reference = reference_build(case, built)
    return None if reference is None else load_and_call(case, reference)[1]


def counterpart_build(case: Case) -> BuiltModel:
    """Return the build with prepack the other way round, on what is in the store.

    Plain and prepacked modules have different workloads; nothing is tuned for this.
    Raises ModelError for what is past the stock pipeline.
    """
    if case.model.is_ready:
        raise ModelError(
            "prepack is a choice of the stock pipeline, which this model doesn't go through: "
            "there is no counterpart to compare with"
        )
    prepack = not case.options.prepack
    tasks = plan(case, prepack=prepack)
    key = _cached_outcome_key(case, prepack=prepack, asked=["as it is"])
    known = _recall(case, key, tasks) or _build_and_keep(case, key, tasks, prepack=prepack)
    return known[0]


def counterpart_outputs(case: Case) -> Any:
    """Return the outputs of the counterpart build."""
    return load_and_call(case, counterpart_build(case))[1]


def _cached_outcome_key(case: Case, *, prepack: bool, asked: Sequence[Any]) -> str:
    """Return what tells apart the cases that may come to different builds of one module."""
    parts = module_parts(case, prepack=prepack)
    return builds.key_of(
        {**parts, "entry": case.model.signature.entry, "asked": asked, "cpu": fingerprint().cpu}
    )


def _recall(case: Case, key: str, tasks: Sequence[Task]) -> tuple[BuiltModel, CachedOutcome] | None:
    """Return what this came to before, unless a tuning file has changed or the build is gone."""
    cached = read_cached_outcome(case.store, key, _versions(case, tasks))
    built = find_built(case, cached.build) if cached else None
    return (built, cached) if built and cached else None


def _build_and_keep(
    case: Case, key: str, tasks: Sequence[Task], *, prepack: bool
) -> tuple[BuiltModel, CachedOutcome]:
    """Return the model compiled with the best stored records, and note what it came to."""
    # Before they are read: what changes meanwhile makes the note void.
    now = _versions(case, tasks)
    built, workloads = _build_tuned(case, tasks, prepack=prepack)
    cached = CachedOutcome(
        build=built.key,
        tasks=tuple(_task_result(task, workloads.get(task.shash), built) for task in tasks),
        left_out=tuple(task.name for task in tasks if _was_left_out(workloads, task)),
    )
    write_cached_outcome(case.store, key, now, cached)
    return built, cached


def _versions(case: Case, tasks: Sequence[Task]) -> FileVersions:
    return file_versions(case.store, tuning_key(case), [task.shash for task in tasks])


def _build_tuned(
    case: Case, tasks: Sequence[Task], *, prepack: bool
) -> tuple[BuiltModel, dict[str, Workload]]:
    """Return the model compiled with the best stored records, and what the store then knows.

    Records that don't apply or build are refused, for good, and the next best ones tried.
    """
    while True:
        workloads = stored_workloads(case, tasks, tuning_key(case))
        records = best_records(workloads)
        try:
            return build(case, prepack=prepack, records=records), workloads
        except (CompileError, ChildError) as error:
            if refuse_bad_records(case, records, error):
                continue
            # What a killed or a slow process came to shows nothing.
            if prepack and not (isinstance(error, ChildError) and error.cause not in FAULTS):
                error.add(_without_prepack(case, tuned=bool(records)))
            raise


def _without_prepack(case: Case, *, tuned: bool) -> str:
    """Say whether what fails prepacked works without; that is noted nowhere."""
    how = "not prepacked and untuned" if tuned else "not prepacked"
    try:
        build(case, prepack=False, records={})
    except CompileError as error:
        return f"nor does it compile {how}: {cause_of(error)}"
    except ChildError as error:
        return f"nor does it work {how}: {cause_of(error)}"
    except TvmTuneError as error:
        return f"whether it works {how} isn't known: {cause_of(error)}"
    whose = "cpu_weight_prepack, or in a tuning record" if tuned else "cpu_weight_prepack"
    return f"{how} it compiles and runs: the fault is in {whose}"


def _task_result(task: Task, workload: Workload | None, built: BuiltModel) -> TaskResult:
    spent, valid = (workload.spent, workload.valid) if workload else (0, 0)
    cpu = fingerprint().cpu
    best = workload.fastest(cpu) if workload else None
    tuned = task.shash in built.build.applied
    untuned_s = _untuned_s(workload, best) if workload else None
    return TaskResult(
        name=task.name,
        shash=task.shash,
        weight=task.weight,
        state=_state(workload, built, untuned_s),
        trials=spent,
        valid_trials=valid,
        best_s=best.mean_s if best else None,
        measured_on_other_cpu=bool(best and best.cpu != cpu),
        reason="" if tuned or workload is None else _why_untuned(workload),
        untuned_s=untuned_s,
    )


def _untuned_s(workload: Workload, best: Record | None) -> float | None:
    """Return what a task takes without a schedule where its best record was measured, if known."""
    if best is None:
        return next((one.run_s for one in workload.untuned), None)
    known = workload.untuned_s(best.cpu, best.num_threads)
    return known if math.isfinite(known) else None


def _state(workload: Workload | None, built: BuiltModel, untuned_s: float | None) -> TaskState:
    if workload is None:
        return "untuned"
    if workload.shash in built.build.applied:
        return "tuned"
    if untuned_s is not None and workload.valid:
        return "untuned is faster"
    return "failed" if workload.spent else "untuned"


def _why_untuned(workload: Workload) -> str:
    if workload.refused and not workload.records:
        return workload.refused[-1].reason
    return next((line.reason for line in reversed(workload.served) if line.reason), "")


def _was_left_out(workloads: dict[str, Workload], task: Task) -> bool:
    """Whether requests were served without a trial for this task: too few for every task."""
    served = workloads[task.shash].served if task.shash in workloads else ()
    return bool(served) and not any(one.spent or one.reason for one in served)
