"""Stages: a case tuned and built, and its counterparts; from the store wherever possible."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from pytest_tvmtune.core.error_text import cause_of
from pytest_tvmtune.core.errors import (
    LOST_DEVICE,
    ChildError,
    CompileError,
    ModelError,
    TvmTuneError,
    listed,
)
from pytest_tvmtune.core.results.task_result import Task, TaskResult, TaskState
from pytest_tvmtune.stages.case import Case, module_parts, with_prepack
from pytest_tvmtune.stages.compiling import BuiltModel, build, build_untuned, load, reuse_build
from pytest_tvmtune.stages.devices.loaded_model import LoadedModel
from pytest_tvmtune.stages.explaining.crashed_kernel import FAULTS
from pytest_tvmtune.stages.explaining.refused_records import refuse_bad_records
from pytest_tvmtune.stages.outcomes import CompileOutcome
from pytest_tvmtune.stages.stage_progress import running
from pytest_tvmtune.stages.tuning_tasks import (
    Records,
    best_records,
    extract_tasks,
    stored_workloads,
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


def recall_outcome(case: Case, plan: builds.Plan) -> CompileOutcome | None:
    """Return the earlier outcome of this case, unless its tuning files have changed since.

    None also where a work_dir has to be read and written, or all is to be tuned anew.
    """
    options = case.options
    if options.work_dir is not None or options.tuning == "refresh":
        return None
    return _recall(case, plan, _cached_outcome_key(case, _asked(case)))


def build_tuned(case: Case, plan: builds.Plan) -> CompileOutcome:
    """Return the model compiled with the best stored records, and keep what it came to."""
    return _build_and_keep(case, plan, _cached_outcome_key(case, _asked(case)))


def _asked(case: Case) -> list[Any]:
    options = case.options
    return [
        options.trials,
        options.max_trials_per_task,
        options.max_tuning_time_s,
        options.tuning,
    ]


def export_to_work_dir(case: Case, built: BuiltModel) -> list[str]:
    """Add the records to the user's work_dir; return a warning where it holds others as well."""
    if case.options.work_dir is None:
        return []
    stored = stored_workloads(case, built.plan)
    cpu = case.machine.cpu
    append_to_work_dir(case.options.work_dir, [one.deployed(cpu) for one in stored.values()])
    applied = best_records(case, stored)
    return differences_from_work_dir(case.options.work_dir, built.plan.tasks, applied)


def differences_from_work_dir(work_dir: Path, tasks: Sequence[Task], applied: Records) -> list[str]:
    """Return a warning if a work_dir ranks records first that aren't applied.

    applied: the records that are.
    """
    first = {one.shash: one.records[0].digest for one in read_work_dir(work_dir)[0] if one.records}
    digests = {shash: record.digest for shash, (_, record) in applied.items()}
    not_applied = [
        task.name
        for task in tasks
        if task.shash in first and first[task.shash] != digests.get(task.shash)
    ]
    if not not_applied:
        return []
    warning = (
        "work_dir: a stock build with this folder differs from the tested build: the folder has "
        f"records of {listed(not_applied)}, which are not applied here, because another kernel "
        "is faster or the records were refused; export to another folder"
    )
    return [warning]


def load_and_call(case: Case, built: BuiltModel) -> tuple[LoadedModel, Any]:
    """Return an artifact loaded where it runs, and its outputs; never while others measure."""
    with running(case):
        loaded = load(case, built)
        return loaded, loaded.outputs()


def reference_build(case: Case, built: BuiltModel) -> BuiltModel | None:
    """Return the untuned, unpacked build: what TVM computes without tuning and prepack.

    None where that is the very library under test: comparing it with itself would show nothing.
    For a model that the user's own pipeline transforms, it is the model before that pipeline. A
    ready library has no such build.
    """
    if case.model.library is not None:
        return None
    if case.model.original is not None:
        case = replace(case, model=case.model.original)
    reference = build_untuned(with_prepack(case, prepack=False))
    return None if reference.artifact.sha256 == built.artifact.sha256 else reference


def counterpart_build(case: Case) -> BuiltModel:
    """Return the build with prepack the other way round, with records that are in the store.

    Plain and prepacked modules have different workloads; nothing is tuned for this.
    Raises ModelError for a model that doesn't go through the stock pipeline.
    """
    if case.model.is_ready:
        raise ModelError(
            "prepack belongs to the stock pipeline, and this model doesn't go through it, so it "
            "has "
            "no counterpart to compare with"
        )
    other = with_prepack(case, prepack=not case.options.prepack)
    plan = extract_tasks(other)
    key = _cached_outcome_key(other, ["as it is"])
    return (_recall(other, plan, key) or _build_and_keep(other, plan, key)).built


def _cached_outcome_key(case: Case, asked: Sequence[Any]) -> str:
    """Return what distinguishes the cases that may come to different builds of one module."""
    parts = module_parts(case)
    return builds.key_of(
        {**parts, "entry": case.model.signature.entry, "asked": asked, "cpu": case.machine.cpu}
    )


def _recall(case: Case, plan: builds.Plan, key: str) -> CompileOutcome | None:
    """Return what this came to before, unless a tuning file has changed or the build is gone."""
    cached = read_cached_outcome(case.store, key, _versions(case, plan))
    built = reuse_build(case, plan, cached.build) if cached else None
    if cached is None or built is None:
        return None
    return CompileOutcome(built=built, tasks=cached.tasks, left_out=cached.left_out)


def _build_and_keep(case: Case, plan: builds.Plan, key: str) -> CompileOutcome:
    """Return the model compiled with the best stored records, and note what it came to."""
    # Before they are read: what changes meanwhile makes the note void.
    now = _versions(case, plan)
    built, workloads = _compile_with_sound_records(case, plan)
    outcome = CompileOutcome(
        built=built,
        tasks=tuple(_task_result(case, task, workloads, built) for task in plan.tasks),
        left_out=tuple(task.name for task in plan.tasks if _was_left_out(workloads, task)),
    )
    cached = CachedOutcome(build=built.key, tasks=outcome.tasks, left_out=outcome.left_out)
    write_cached_outcome(case.store, key, now, cached)
    return outcome


def _versions(case: Case, plan: builds.Plan) -> FileVersions:
    return file_versions(case.store, plan.target_key, [task.shash for task in plan.tasks])


def _compile_with_sound_records(
    case: Case, plan: builds.Plan
) -> tuple[BuiltModel, dict[str, Workload]]:
    """Return the model compiled with the best stored records, and the workloads stored then.

    Records that don't apply or build are refused permanently, and the next best records tried.
    """
    while True:
        workloads = stored_workloads(case, plan)
        records = best_records(case, workloads)
        try:
            return build(case, plan, records), workloads
        except (CompileError, ChildError) as error:
            lost = isinstance(error, ChildError) and error.cause == LOST_DEVICE
            if not lost and refuse_bad_records(case, records, error):
                continue
            # What a killed or a slow process came to shows nothing.
            shows_nothing = isinstance(error, ChildError) and error.cause not in FAULTS
            if case.options.prepack and not shows_nothing:
                error.add(_without_prepack(case, tuned=bool(records)))
            raise


def _without_prepack(case: Case, *, tuned: bool) -> str:
    """Return whether a model that fails prepacked works without prepack; this isn't stored."""
    how = "without prepack and tuning records" if tuned else "without prepack"
    try:
        build_untuned(with_prepack(case, prepack=False))
    except CompileError as error:
        return f"it doesn't compile {how} either: {cause_of(error)}"
    except ChildError as error:
        return f"it doesn't work {how} either: {cause_of(error)}"
    except TvmTuneError as error:
        return f"whether it works {how} is not known: {cause_of(error)}"
    where = "cpu_weight_prepack, or in a tuning record" if tuned else "cpu_weight_prepack"
    return f"{how}, it compiles and runs, so the fault is in {where}"


def _task_result(
    case: Case, task: Task, workloads: dict[str, Workload], built: BuiltModel
) -> TaskResult:
    workload = workloads.get(task.shash)
    spent, valid = (workload.spent, workload.valid) if workload else (0, 0)
    cpu = case.machine.cpu
    best = (workload.best(cpu) or workload.fastest(cpu)) if workload else None
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
        replayed_from=best.replayed_from if best and tuned else "",
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
