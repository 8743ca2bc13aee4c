"""Stage: for tasks without records of this TVM, those of the same task under another version."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from pytest_tvmtune.core.errors import ChildError
from pytest_tvmtune.core.kernels.matching import family
from pytest_tvmtune.core.versions import minor
from pytest_tvmtune.processes.run_job import run_job
from pytest_tvmtune.relax.compiling.prepared_module import module_text
from pytest_tvmtune.relax.tuning.replaying import replay_job
from pytest_tvmtune.stages.case import Case, module_parts
from pytest_tvmtune.stages.job_context import job_context
from pytest_tvmtune.stages.tuning_tasks import stored_workloads
from pytest_tvmtune.store import builds
from pytest_tvmtune.store.tuning.other_versions import (
    as_replayed,
    has_no_match,
    note_no_match,
    workloads_of_other_versions,
)
from pytest_tvmtune.store.tuning.records import Workload, is_other_version, version_in_key
from pytest_tvmtune.store.tuning.work_dirs import read_work_dir
from pytest_tvmtune.store.tuning.workload_files import add_to_workload
from pytest_tvmtune.store.tuning.workload_ir import has_free_layout, version_of


def replay_records(
    case: Case, plan: builds.Plan, accepted: Callable[[], Sequence[tuple[str, Workload]]]
) -> list[str]:
    """Give tasks without records the schedules that another version of TVM has found for them.

    They are in the store from then on, as replayed: the tuner measures them first, and without
    tuning they are applied as they are.

    Args:
        case: Whose records they are.
        plan: Its tasks.
        accepted: Reads (target key, workload) of the case's baseline.

    Returns:
        Warnings.

    """
    if case.options.tuning == "refresh":
        return []
    stored = stored_workloads(case, plan)
    lacking = [
        task
        for task in plan.tasks
        if not (known := stored.get(task.shash))
        or not (known.records or known.served or known.refused)
    ]
    families, cpu = {family(task.name) for task in lacking}, case.machine.cpu
    old = tuple(
        replay_job.OldRecord(
            task=workload.name,
            free_layout=has_free_layout(workload.ir),
            untuned_is_faster=workload.best(cpu) is None,
            record=record,
        )
        for workload in (_of_other_versions(case, plan, accepted) if lacking else ())
        if not workload.name or family(workload.name) in families
        for record in workload.records
    )
    if not old:
        return []
    request = replay_job.Request(
        mod_text=module_text(case.model.mod),
        target=case.target_json,
        prepack=case.options.prepack,
        shashes=frozenset(task.shash for task in lacking),
        old=old,
    )
    mark = builds.key_of(
        {
            **module_parts(case),
            "lacking": sorted(request.shashes),
            "old": sorted(
                [one.task, one.free_layout, one.untuned_is_faster, one.record.digest] for one in old
            ),
        }
    )
    if has_no_match(case.store, mark):
        return []
    try:
        result = run_job(replay_job.JOB, request, job_context(case, "replay"))
    except ChildError as error:
        return [f"records of another TVM were not replayed: {error}"]
    _store(case, plan, result.replayed)
    if not result.replayed:
        note_no_match(case.store, mark)
    return []


def _of_other_versions(
    case: Case, plan: builds.Plan, accepted: Callable[[], Sequence[tuple[str, Workload]]]
) -> Iterable[Workload]:
    """Yield workloads from the store and its fallbacks, the baseline, and the user's work_dir."""
    yield from workloads_of_other_versions(case.store, plan.target_key)
    for key, workload in accepted():
        if is_other_version(plan.target_key, key):
            yield as_replayed(workload, version_in_key(key) or key)
    if case.options.work_dir is not None:
        here = version_in_key(plan.target_key)
        for workload in read_work_dir(case.options.work_dir)[0]:
            version = minor(version_of(workload.ir))
            if version not in {"", here}:
                yield as_replayed(workload, version)


def _store(case: Case, plan: builds.Plan, replayed: Iterable[replay_job.Replayed]) -> None:
    """Store what was replayed, and why other records can't be."""
    for one in replayed:
        workload = Workload(
            shash=one.task.shash,
            name=one.task.name,
            ir=one.ir,
            records=one.records,
            refused=one.refused,
        )
        add_to_workload(case.store, plan.target_key, workload)
