"""Stages: find the model's tasks, tune those that no earlier request served."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace

from pytest_tvmtune.core.environment import fingerprint
from pytest_tvmtune.core.results import Task, TuningProgress
from pytest_tvmtune.relax.build import module_text
from pytest_tvmtune.relax.child import run_job
from pytest_tvmtune.runner.case import Case, module_parts
from pytest_tvmtune.store import builds
from pytest_tvmtune.store.locks import cores_lock
from pytest_tvmtune.store.records import Record, Workload, add_to_workload, read_workload
from pytest_tvmtune.store.work_dirs import read_work_dir

PLAN_TIMEOUT_S = 300.0
TUNER_START_S = 300.0
TUNER_TRIAL_S = 40.0


def plan(case: Case, *, prepack: bool) -> list[Task]:
    """Return the tuning tasks of the prepared module, from the store when they are there."""
    key = builds.key_of(module_parts(case, prepack=prepack))
    tasks = builds.read_plan(case.store, key)
    if tasks is None:
        found = run_job(
            "pytest_tvmtune.relax.build:plan",
            {
                "mod_text": module_text(case.model.mod),
                "target": case.target_json,
                "prepack": prepack,
            },
            scratch=case.store.scratch,
            log_path=case.log_path("plan"),
            timeout_s=PLAN_TIMEOUT_S,
            num_threads=case.num_threads,
        )
        tasks = [Task(**task) for task in found]
        builds.write_plan(case.store, key, tasks)
    return tasks


def take_in_work_dir(case: Case, tasks: Sequence[Task], key: str) -> None:
    """Copy the records of these tasks from the user's work_dir into the store."""
    if case.options.work_dir is None:
        return
    workloads, problems = read_work_dir(case.options.work_dir)
    case.result.warnings += [f"work_dir: {problem}" for problem in problems]
    names = {task.shash: task.name for task in tasks}
    for workload in workloads:
        if workload.shash in names:
            add_to_workload(case.store, key, replace(workload, name=names[workload.shash]))


def tune_missing(case: Case, tasks: Sequence[Task], key: str) -> None:
    """Tune what no earlier request served; the tuner puts records and ledger into the store."""
    if case.options.tuning == "never" or case.options.trials == 0 or not tasks:
        return
    if not _missing(case, tasks, key):
        return
    with cores_lock():
        # Another process may have tuned them meanwhile.
        missing = _missing(case, tasks, key)
        if not missing:
            return
        started = time.perf_counter()
        trials = _budget(case, tasks, missing, key)
        _tell(case, TuningProgress(label=case.label, total=trials))
        try:
            done = run_job(
                "pytest_tvmtune.relax.tuner.search:tune",
                {
                    "mod_text": module_text(case.model.mod),
                    "target": case.target_json,
                    "prepack": case.options.prepack,
                    "shashes": [task.shash for task in missing],
                    "trials": trials,
                    "requested_trials": case.options.trials,
                    "max_trials_per_task": case.options.max_trials_per_task,
                    "num_threads": case.num_threads,
                    "seed": case.options.seed,
                    "store_root": str(case.store.root),
                    "target_key": key,
                },
                scratch=case.store.scratch,
                log_path=case.log_path("tune"),
                timeout_s=TUNER_START_S + TUNER_TRIAL_S * case.options.trials,
                num_threads=case.num_threads,
                on_progress=lambda row: _tell(case, TuningProgress(label=case.label, **row)),
            )
        finally:
            _tell(case, TuningProgress(label=case.label, total=trials, finished=True))
    case.workshop.refreshed.update((key, task.shash) for task in missing)
    result = case.result
    result.tuned_now = True
    result.tuning_s += time.perf_counter() - started
    result.trials_spent += sum(one["spent"] for one in done["tasks"].values())


def _tell(case: Case, progress: TuningProgress) -> None:
    if case.workshop.on_progress is not None:
        case.workshop.on_progress(progress)


def _missing(case: Case, tasks: Sequence[Task], key: str) -> list[Task]:
    options = case.options
    if options.tuning == "refresh":
        return [task for task in tasks if (key, task.shash) not in case.workshop.refreshed]
    stored = stored_workloads(case, tasks, key)
    return [
        task
        for task in tasks
        if task.shash not in stored
        or not stored[task.shash].is_enough(options.trials, options.max_trials_per_task)
    ]


def _budget(case: Case, tasks: Sequence[Task], missing: Sequence[Task], key: str) -> int:
    """Return the trials for the missing tasks: their share, less what they were given before."""
    share = max(1, round(case.options.trials * len(missing) / len(tasks)))
    if case.options.tuning == "refresh":
        return share
    stored = stored_workloads(case, missing, key)
    spent = sum(served.spent for workload in stored.values() for served in workload.served)
    return max(share - spent, min(len(missing), share))


def stored_workloads(case: Case, tasks: Sequence[Task], key: str) -> dict[str, Workload]:
    """Return what the store knows of these tasks, by workload hash."""
    found = {task.shash: read_workload(case.store, key, task.shash) for task in tasks}
    return {shash: workload for shash, workload in found.items() if workload is not None}


def best_records(workloads: dict[str, Workload]) -> dict[str, tuple[Workload, Record]]:
    """Return the record to apply to each workload, where there is a valid one."""
    cpu = fingerprint().cpu
    return {
        shash: (workload, record)
        for shash, workload in workloads.items()
        if (record := workload.best(cpu)) is not None
    }
