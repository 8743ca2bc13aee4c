"""Stages: find the model's tasks, tune those that no earlier request served."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Sequence
from dataclasses import replace

from pytest_tvmtune.core.clock import monotonic_s
from pytest_tvmtune.core.errors import listed
from pytest_tvmtune.core.results.progress import TuningProgress
from pytest_tvmtune.core.results.task_result import Task
from pytest_tvmtune.core.tuning.trial_budget import MAX_ROUND
from pytest_tvmtune.core.tuning.tuning_curve import extend_curve
from pytest_tvmtune.machine.fingerprint import fingerprint
from pytest_tvmtune.processes.run_job import run_job
from pytest_tvmtune.relax.compiling import plan_job
from pytest_tvmtune.relax.compiling.prepared_module import module_text
from pytest_tvmtune.relax.tuning import tune_job
from pytest_tvmtune.relax.tuning.rounds import RoundProgress
from pytest_tvmtune.stages.case import Case, module_parts, toolchain_parts, tuning_key
from pytest_tvmtune.stages.job_context import job_context
from pytest_tvmtune.store import builds
from pytest_tvmtune.store.locks import try_lock
from pytest_tvmtune.store.tuning.records import Record, Workload
from pytest_tvmtune.store.tuning.work_dirs import read_work_dir
from pytest_tvmtune.store.tuning.workload_files import add_to_workload, read_workload

# The records a build applies, by workload hash.
Records = dict[str, tuple[Workload, Record]]
TUNER_START_S = 300.0
# More than a candidate may take to be built and measured, one after the other.
TUNER_TRIAL_S = 120.0
WAITING = "waiting for another process that tunes the same"
_WAIT_S = 0.25


def plan(case: Case, *, prepack: bool) -> list[Task]:
    """Return the tuning tasks of the prepared module, from the store when they are there.

    What is past the stock pipeline has none.
    """
    if case.model.is_ready:
        return []
    key = builds.key_of(module_parts(case, prepack=prepack))
    known = builds.read_plan(case.store, key)
    if known is None:
        request = plan_job.Request(
            mod_text=module_text(case.model.mod), target=case.target_json, prepack=prepack
        )
        found = run_job(plan_job.JOB, request, job_context(case, "plan"))
        known = builds.Plan(
            model=case.model.name,
            target_key=tuning_key(case),
            prepack=prepack,
            tasks=found.tasks,
        )
        builds.write_plan(case.store, key, known)
    return list(known.tasks)


def import_work_dir(case: Case, tasks: Sequence[Task], key: str) -> None:
    """Copy the records of these tasks from the user's work_dir into the store."""
    if case.options.work_dir is None:
        return
    workloads, problems = read_work_dir(case.options.work_dir)
    case.result.warnings += [f"work_dir: {problem}" for problem in problems]
    names = {task.shash: task.name for task in tasks}
    for workload in workloads:
        if workload.shash in names:
            add_to_workload(case.store, key, replace(workload, name=names[workload.shash]))


def restore_accepted_records(
    case: Case,
    tasks: Sequence[Task],
    key: str,
    accepted: Callable[[], Sequence[tuple[str, Workload]]],
) -> None:
    """Put what the case's baseline keeps into a store that has lost it.

    Else a lost cache would gate a new random schedule against the old one. accepted: reads
    (target key, workload), the ledger's lines included, so that what was enough then is so again.
    """
    if case.options.tuning == "refresh":
        return
    lost = {task.shash for task in tasks} - set(stored_workloads(case, tasks, key))
    for its_key, workload in accepted() if lost else ():
        if its_key == key and workload.shash in lost:
            add_to_workload(case.store, key, workload)
            case.result.tasks_restored.append(workload.name)


def tune_missing(case: Case, tasks: Sequence[Task], key: str) -> None:
    """Tune what no earlier request served; the tuner puts records and ledger into the store.

    Each workload is tuned by one process, which holds its lock meanwhile. What others are at is
    left to them, and waited for once nothing else is left to do.
    """
    if case.options.tuning == "never" or case.options.trials == 0:
        return
    tuned: set[str] = set()
    try:
        # What was tuned here is never missing again, whatever a clock says.
        while missing := [t for t in _missing(case, tasks, key) if t.shash not in tuned]:
            tuned |= _tune_or_wait(case, tasks, missing, key)
    finally:
        _tell(case, TuningProgress(label=case.label, finished=True))


def _tune_or_wait(case: Case, tasks: Sequence[Task], missing: Sequence[Task], key: str) -> set[str]:
    """Return the hashes of what was tuned; none where others are at all of it."""
    locks = {task.shash: try_lock(case.store.lock(f"{key}-{task.shash}")) for task in missing}
    try:
        # Whoever held them before may have finished meanwhile.
        mine = _missing(case, [task for task in missing if locks[task.shash]], key)
        if mine:
            _tune(case, tasks, mine, key)
        elif not any(locks.values()):
            _tell(case, TuningProgress(label=case.label, note=WAITING))
            time.sleep(_WAIT_S)
        return {task.shash for task in mine}
    finally:
        for lock in filter(None, locks.values()):
            lock.release()


def _tune(case: Case, tasks: Sequence[Task], mine: Sequence[Task], key: str) -> None:
    started = monotonic_s()
    trials = _budget(case, tasks, mine, key)
    weights = {task.name: task.weight for task in mine}
    done_before = case.result.trials_spent

    def on_progress(row: RoundProgress) -> None:
        improved = [(done_before + trial, best_s) for trial, best_s in row.improved]
        extend_curve(case.result.tuning_curve, row.task, improved, weights)
        progress = TuningProgress(
            label=case.label,
            done=row.done,
            total=row.total,
            failed=row.failed,
            task=row.task,
            best_s=row.best_s,
        )
        _tell(case, progress)

    def on_stage(stage: str, spent_s: float) -> None:
        # Of what has to do with trials, `on_progress` says more.
        if context.on_stage is not None and not stage.startswith("tuning"):
            context.on_stage(stage, spent_s)

    # For one round; the job enters a stage for each.
    timeout_s = TUNER_START_S + TUNER_TRIAL_S * min(trials, MAX_ROUND)
    context = job_context(case, "tune", timeout_s=timeout_s)
    _tell(case, TuningProgress(label=case.label, total=trials))
    request = tune_job.Request(
        mod_text=module_text(case.model.mod),
        target=case.target_json,
        prepack=case.options.prepack,
        shashes=frozenset(task.shash for task in mine),
        trials=trials,
        requested_trials=case.options.trials,
        max_trials_per_task=case.options.max_trials_per_task,
        seed=case.options.seed,
        store=case.store,
        target_key=key,
        run_id=secrets.token_hex(8),
        since_s=_since_s(case),
        environment=_environment(case),
    )
    done = run_job(tune_job.JOB, request, replace(context, on_stage=on_stage), on_progress)
    result = case.result
    result.tuned_now = True
    result.tuning_s += monotonic_s() - started
    result.trials_spent += sum(one.spent for one in done.tasks.values())


def _tell(case: Case, progress: TuningProgress) -> None:
    if case.run_context.on_progress is not None:
        case.run_context.on_progress(progress)


def _missing(case: Case, tasks: Sequence[Task], key: str) -> list[Task]:
    options = case.options
    stored, environment = stored_workloads(case, tasks, key), _environment(case)
    return [
        task
        for task in tasks
        if task.shash not in stored
        or not stored[task.shash].is_enough(
            options.trials,
            options.max_trials_per_task,
            environment=environment,
            since_s=_since_s(case),
        )
    ]


def _environment(case: Case) -> str:
    """Return what a candidate's failure depends on beside itself: TVM, the compiler, the setup."""
    return builds.key_of(toolchain_parts(case))


def _since_s(case: Case) -> float:
    """From when on a request counts as served: `refresh` asks for what this session tuned."""
    return case.run_context.started_s if case.options.tuning == "refresh" else 0.0


def _budget(case: Case, tasks: Sequence[Task], missing: Sequence[Task], key: str) -> int:
    """Return the trials for the missing tasks: their share, less what they were given before.

    What an interrupted run spent counts too.
    """
    share = max(1, round(case.options.trials * len(missing) / len(tasks)))
    spent = sum(
        served.spent
        for workload in stored_workloads(case, missing, key).values()
        for served in workload.served
        if served.at_s >= _since_s(case)
    )
    return max(share - spent, min(len(missing), share))


def stored_workloads(case: Case, tasks: Sequence[Task], key: str) -> dict[str, Workload]:
    """Return what the store knows of these tasks, by workload hash."""
    found = {task.shash: read_workload(case.store, key, task.shash) for task in tasks}
    return {shash: workload for shash, workload in found.items() if workload is not None}


def workloads_of(case: Case, *, prepack: bool) -> dict[str, Workload]:
    """Return what the store knows of all tasks of a case, by workload hash. Raises ChildError."""
    return stored_workloads(case, plan(case, prepack=prepack), tuning_key(case))


def best_records(workloads: dict[str, Workload]) -> Records:
    """Return the record to apply to each workload, where there is a valid one."""
    cpu = fingerprint().cpu
    return {
        shash: (workload, record)
        for shash, workload in workloads.items()
        if (record := workload.best(cpu)) is not None
    }


def untuned_sentence(case: Case) -> str:
    """Return which tasks have no record though trials were asked for, "" where none."""
    result = case.result
    incomplete = [task for task in result.tasks if not task.is_settled]
    if not result.tuning_trials or not incomplete:
        return ""
    by_reason: dict[str, list[str]] = {}
    for task in incomplete:
        by_reason.setdefault(task.reason, []).append(task.name)
    told = "; ".join(
        listed(names) + (f" ({reason})" if reason else "") for reason, names in by_reason.items()
    )
    has_failed = any(task.state == "failed" for task in incomplete)
    again = "; to try again: --tvm-tuning=refresh" if has_failed else ""
    log = f"; log: {case.log_path('tune')}" if any(task.reason for task in incomplete) else ""
    trials = result.tuning_trials
    asked = "1 trial was" if trials == 1 else f"{trials} trials were"
    return (
        f"{len(incomplete)} of {len(result.tasks)} tasks are untuned though "
        f"{asked} asked: {told}{again}{log}"
    )
