"""Stages: find the model's tasks, tune those that no earlier request served."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Sequence
from dataclasses import replace

from pytest_tvmtune.core.clock import monotonic_s
from pytest_tvmtune.core.errors import TvmTuneError, counted, listed
from pytest_tvmtune.core.job_stage import JobStage
from pytest_tvmtune.core.results.progress import TuningProgress
from pytest_tvmtune.core.results.task_result import Task, TaskResult
from pytest_tvmtune.core.tuning.trial_budget import MAX_ROUND
from pytest_tvmtune.core.tuning.tuning_curve import extend_curve
from pytest_tvmtune.processes.run_job import run_job
from pytest_tvmtune.relax.compiling import plan_job
from pytest_tvmtune.relax.compiling.prepared_module import module_text
from pytest_tvmtune.relax.tuning import tune_job
from pytest_tvmtune.relax.tuning.rounds import RoundProgress
from pytest_tvmtune.stages.case import Case, module_parts, running_parts, tuning_key
from pytest_tvmtune.stages.job_context import job_context
from pytest_tvmtune.stages.outcomes import TuningOutcome
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
WAITING = "waiting for another process that tunes the same tasks"
_WAIT_S = 0.25


def extract_tasks(case: Case) -> builds.Plan:
    """Return the tuning tasks of the prepared module, which the store has from then on.

    What is past the stock pipeline has none.

    Raises:
        ChildError: The module can't be prepared.
    """
    target_key, prepack = tuning_key(case), case.options.prepack
    if case.model.is_ready:
        return builds.Plan(model=case.model.name, target_key=target_key, prepack=prepack, tasks=())
    key = builds.key_of(module_parts(case))
    known = builds.read_plan(case.store, key)
    if known is None:
        request = plan_job.Request(
            mod_text=module_text(case.model.mod), target=case.target_json, prepack=prepack
        )
        found = run_job(plan_job.JOB, request, job_context(case, "plan"))
        known = builds.Plan(
            model=case.model.name,
            target_key=target_key,
            prepack=prepack,
            tasks=found.tasks,
        )
        builds.write_plan(case.store, key, known)
    return known


def import_work_dir(case: Case, plan: builds.Plan) -> list[str]:
    """Copy the records of the tasks from the user's work_dir into the store; return problems."""
    if case.options.work_dir is None:
        return []
    workloads, problems = read_work_dir(case.options.work_dir)
    names = {task.shash: task.name for task in plan.tasks}
    stored = stored_workloads(case, plan)
    for workload in workloads:
        if workload.shash not in names:
            continue
        # What came from the store is known there with the machine that measured it.
        before = stored.get(workload.shash)
        known = {one.digest for one in before.records} if before else set()
        records = tuple(one for one in workload.records if one.digest not in known)
        if records:
            renamed = replace(workload, name=names[workload.shash], records=records)
            add_to_workload(case.store, plan.target_key, renamed)
    return [f"work_dir: {problem}" for problem in problems]


def restore_accepted_records(
    case: Case, plan: builds.Plan, accepted: Callable[[], Sequence[tuple[str, Workload]]]
) -> list[str]:
    """Put the records that the case's baseline keeps into a store that has lost them.

    Otherwise, a lost cache would gate a new random schedule against the old schedule.

    Args:
        case: Whose records they are.
        plan: Its tasks.
        accepted: Reads (target key, workload), the ledger's lines included, so that what was
            enough then is so again.

    Returns:
        The names of the tasks whose records were lost.
    """
    if case.options.tuning == "refresh":
        return []
    lost = {task.shash for task in plan.tasks} - set(stored_workloads(case, plan))
    restored = []
    for its_key, workload in accepted() if lost else ():
        if its_key == plan.target_key and workload.shash in lost:
            add_to_workload(case.store, its_key, workload)
            restored.append(workload.name)
    return restored


def tune_missing(case: Case, plan: builds.Plan) -> TuningOutcome:
    """Tune what no earlier request served; the tuner puts records and ledger into the store.

    One process tunes each workload and holds its lock during that time. Workloads that other
    processes tune are left to them, and waited for once nothing else is left to do.
    """
    outcome = TuningOutcome()
    if case.options.tuning == "never" or case.options.trials == 0:
        return outcome
    tuned: set[str] = set()
    try:
        # What was tuned here is never missing again, whatever a clock says.
        while outcome.error is None and (
            missing := [task for task in _missing(case, plan) if task.shash not in tuned]
        ):
            mine, outcome = _tune_or_wait(case, plan, missing, outcome)
            tuned |= mine
    finally:
        _tell(case, TuningProgress(label=case.label, finished=True))
    return outcome


def _tune_or_wait(
    case: Case, plan: builds.Plan, missing: Sequence[Task], before: TuningOutcome
) -> tuple[set[str], TuningOutcome]:
    """Return the hashes of the tuned tasks, none where others tune all of them, and the outcome."""
    locks = {
        task.shash: try_lock(case.store.lock(f"{plan.target_key}-{task.shash}")) for task in missing
    }
    try:
        # Whoever held them before may have finished meanwhile.
        locked = tuple(task for task in missing if locks[task.shash])
        mine = _missing(case, replace(plan, tasks=locked))
        if mine:
            before = _tune(case, plan, mine, before)
        elif not any(locks.values()):
            _tell(case, TuningProgress(label=case.label, note=WAITING))
            time.sleep(_WAIT_S)
        return {task.shash for task in mine}, before
    finally:
        for lock in filter(None, locks.values()):
            lock.release()


def _tune(
    case: Case, plan: builds.Plan, mine: Sequence[Task], before: TuningOutcome
) -> TuningOutcome:
    started, key = monotonic_s(), plan.target_key
    trials, limit_s = _budget(case, plan, mine), case.options.max_tuning_time_s
    weights = {task.name: task.weight for task in mine}
    curve = list(before.curve)

    def on_progress(row: RoundProgress) -> None:
        improved = [(before.trials_spent + trial, best_s) for trial, best_s in row.improved]
        extend_curve(curve, row.task, improved, weights)
        progress = TuningProgress(
            label=case.label,
            done=row.done,
            total=row.total,
            failed=row.failed,
            task=row.task,
            best_s=row.best_s,
        )
        _tell(case, progress)

    def on_stage(stage: JobStage, spent_s: float) -> None:
        # Of what has to do with trials, `on_progress` says more.
        if context.on_stage is not None and stage.kind != "trials":
            context.on_stage(stage, spent_s)

    # For one round; the job enters a stage for each.
    timeout_s = TUNER_START_S + TUNER_TRIAL_S * min(trials, MAX_ROUND)
    if case.remote is not None:
        timeout_s += case.remote.wait_s
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
        max_time_s=limit_s,
        left_s=None if limit_s is None else max(0.0, limit_s - before.seconds),
        seed=case.options.seed,
        store=case.store,
        target_key=key,
        run_id=secrets.token_hex(8),
        since_s=_since_s(case),
        environment=_environment(case),
        machine=case.machine,
        num_threads=case.num_threads,
        remote=case.remote,
    )
    try:
        done = run_job(tune_job.JOB, request, replace(context, on_stage=on_stage), on_progress)
    except TvmTuneError as error:
        return replace(before, curve=tuple(curve), error=error)
    return TuningOutcome(
        tuned=before.tuned | done.tasks.keys(),
        trials_spent=before.trials_spent + sum(one.spent for one in done.tasks.values()),
        ended_by=done.ended_by,
        seconds=before.seconds + monotonic_s() - started,
        curve=tuple(curve),
    )


def _tell(case: Case, progress: TuningProgress) -> None:
    if case.run_context.on_progress is not None:
        case.run_context.on_progress(progress)


def _missing(case: Case, plan: builds.Plan) -> list[Task]:
    options = case.options
    stored, environment = stored_workloads(case, plan), _environment(case)
    return [
        task
        for task in plan.tasks
        if task.shash not in stored
        or not stored[task.shash].is_enough(
            options.trials,
            options.max_trials_per_task,
            max_time_s=options.max_tuning_time_s,
            environment=environment,
            since_s=_since_s(case),
        )
    ]


def _environment(case: Case) -> str:
    """Return what else a candidate's failure depends on: TVM, the compiler, and the setup."""
    return builds.key_of(running_parts(case))


def _since_s(case: Case) -> float:
    """Return when a request starts to count as served: for `refresh`, this session's start."""
    return case.run_context.started_s if case.options.tuning == "refresh" else 0.0


def _budget(case: Case, plan: builds.Plan, missing: Sequence[Task]) -> int:
    """Return the trials for the missing tasks: their share, less what they were given before.

    What an interrupted run spent counts too.
    """
    share = max(1, round(case.options.trials * len(missing) / len(plan.tasks)))
    spent = sum(
        served.spent
        for workload in stored_workloads(case, replace(plan, tasks=tuple(missing))).values()
        for served in workload.served
        if served.at_s >= _since_s(case)
    )
    return max(share - spent, min(len(missing), share))


def stored_workloads(case: Case, plan: builds.Plan) -> dict[str, Workload]:
    """Return what the store knows of these tasks, by workload hash."""
    found = {
        task.shash: read_workload(case.store, plan.target_key, task.shash) for task in plan.tasks
    }
    return {shash: workload for shash, workload in found.items() if workload is not None}


def best_records(case: Case, workloads: dict[str, Workload]) -> Records:
    """Return the record to apply to each workload, where there is a valid one."""
    cpu = case.machine.cpu
    return {
        shash: (workload, record)
        for shash, workload in workloads.items()
        if (record := workload.best(cpu)) is not None
    }


def untuned_sentence(case: Case, tasks: Sequence[TaskResult]) -> str:
    """Return which tasks have no record although trials were requested, "" without any."""
    trials = requested_trials(case)
    incomplete = [task for task in tasks if not task.is_settled]
    if not trials or not incomplete:
        return ""
    by_reason: dict[str, list[str]] = {}
    for task in incomplete:
        by_reason.setdefault(task.reason, []).append(task.name)
    named = "; ".join(
        listed(names) + (f" ({reason})" if reason else "") for reason, names in by_reason.items()
    )
    has_failed = any(task.state == "failed" for task in incomplete)
    again = "; to try again, use --tvm-tuning=refresh" if has_failed else ""
    log_path = case.log_path("tune")
    has_log = any(task.reason for task in incomplete) and log_path.is_file()
    log = f"; log: {log_path}" if has_log else ""
    verb = "is" if len(incomplete) == 1 else "are"
    requested = f"{counted(trials, 'trial')} {'was' if trials == 1 else 'were'} requested"
    return (
        f"{len(incomplete)} of {counted(len(tasks), 'task')} {verb} untuned, although "
        f"{requested}: {named}{again}{log}"
    )


def requested_trials(case: Case) -> int:
    """Return how many trials a case may be tuned with: none, past the stock pipeline."""
    return 0 if case.model.is_ready else case.options.trials
