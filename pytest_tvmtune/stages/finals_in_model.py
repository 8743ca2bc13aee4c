"""Stage: the best schedules of the dearest tasks meet once more, inside the model.

A candidate is measured alone: its data is in the caches, and no other kernel has left its threads
spinning. What is the fastest alone may be slower in the model. So the model is also built with the
runner-up of a task in place of its best schedule, and the builds are measured in turn, as the gate
measures them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from pytest_tvmtune.core.clock import now_s
from pytest_tvmtune.core.errors import TvmTuneError, listed
from pytest_tvmtune.core.gating.confidence_sequence import MIN_EPOCHS, Evidence, evidence_of
from pytest_tvmtune.core.results.final_in_model import FinalInModel
from pytest_tvmtune.core.results.task_result import Task
from pytest_tvmtune.core.settings.quantities import Threshold
from pytest_tvmtune.relax.measuring.gate_job import Limit
from pytest_tvmtune.stages.case import Case
from pytest_tvmtune.stages.compiling import BuiltModel, build
from pytest_tvmtune.stages.latency.paired_measurement import measure_finals
from pytest_tvmtune.stages.outcomes import FinalsOutcome, TuningOutcome
from pytest_tvmtune.stages.tuning_tasks import best_records, stored_workloads
from pytest_tvmtune.store.artifacts import Artifact
from pytest_tvmtune.store.tuning.records import Record, Workload
from pytest_tvmtune.store.tuning.workload_files import add_to_workload

# With fewer trials, what the search happened to find matters more than which of it is chosen.
LEAST_TRIALS = 32
# Of the time that tuning took, but as long as a small model's finals may take.
_TIME_SHARE = 0.2
_SHORTEST_S = 8.0
_MEASURED_S = 3.0
# Of a new process that loads TVM and the libraries.
_START_S = 2.0
# Of all tasks' time: from this share on, a task is dear.
_DEAR = 0.05
_DEAREST = 3
# Of a task, those within this ratio of its best, alone.
_CLOSE = 1.3
_MOST_OF_A_TASK = 2
MOST = 4
# What is gained less doesn't matter.
_LEAST_GAIN = Threshold(text="0.5%", ratio=0.005)
_ALPHA = 0.05


@dataclass(frozen=True, kw_only=True, eq=False)
class Schedule:
    """A schedule of a task. record: None for the untuned kernel. alone_s: of a call, alone."""

    record: Record | None
    alone_s: float


@dataclass(frozen=True, kw_only=True, eq=False)
class Finalist:
    """A schedule that meets `best`, the schedule that is the fastest alone."""

    task: Task
    schedule: Schedule
    best: Schedule


def hold_finals_in_model(case: Case, built: BuiltModel, tuned: TuningOutcome) -> FinalsOutcome:
    """Compare the best schedules of the dearest tasks inside the model, and keep which is faster.

    It takes at most a fifth of the time that tuning took, or 8 s. A finalist that doesn't build or
    run is left out.

    Args:
        case: The case, which this run has tuned.
        built: The model with the schedules that are the fastest alone.
        tuned: What tuning came to.

    Returns:
        The results. If a finalist was chosen, the store's records have changed.
    """
    if tuned.trials_spent < LEAST_TRIALS:
        return FinalsOutcome()
    workloads = stored_workloads(case, built.plan)
    ranked = {
        shash: schedules
        for shash, one in workloads.items()
        if (schedules := ranked_alone(one, case.machine.cpu, case.num_threads))
    }
    tasks = [task for task in built.plan.tasks if task.shash in ranked]
    call_s = sum(task.weight * ranked[task.shash][0].alone_s for task in tasks)
    budget_s = max(_SHORTEST_S, _TIME_SHARE * tuned.seconds)
    most = _affordable(budget_s, built.build.compile_s, call_s)
    entered, compiled_s = _enter(case, built, workloads, choose_finalists(tasks, ranked)[:most])
    if not entered:
        return FinalsOutcome(compiled_s=compiled_s)
    try:
        evidence = _measure(case, built.artifact, [artifact for _, artifact in entered], call_s)
    except TvmTuneError as error:
        names = listed(sorted({finalist.task.name for finalist, _ in entered}))
        problem = f"schedules of {names} couldn't be compared inside the model: {error}"
        return FinalsOutcome(compiled_s=compiled_s, problem=problem)
    met = [(finalist, found) for (finalist, _), found in zip(entered, evidence, strict=True)]
    chosen = _chosen(met)
    for finalist in chosen.values():
        shash = finalist.task.shash
        rows = [(one, found) for one, found in met if one.task.shash == shash and is_faster(found)]
        corrected = ranked_in_model(workloads[shash], rows, case.machine.cpu, case.num_threads)
        add_to_workload(case.store, built.plan.target_key, corrected)
    results = tuple(
        FinalInModel(
            task=one.task.name,
            is_untuned=one.schedule.record is None,
            ratio=1 / found.ratio,
            interval=(1 / found.high, 1 / found.low) if found.low else None,
            chosen=one in chosen.values(),
        )
        for one, found in met
    )
    return FinalsOutcome(results=results, compiled_s=compiled_s)


def ranked_alone(workload: Workload, cpu: str, num_threads: int) -> list[Schedule]:
    """Return a workload's schedules that were measured on this machine, the applied one first.

    Empty if the applied one was measured elsewhere.
    """
    here = [
        Schedule(record=record, alone_s=record.mean_s)
        for record in workload.records
        if (record.cpu, record.num_threads, record.replayed_from) == (cpu, num_threads, "")
    ]
    here += [
        Schedule(record=None, alone_s=one.run_s)
        for one in workload.untuned
        if (one.cpu, one.num_threads) == (cpu, num_threads)
    ]
    here.sort(key=lambda one: (one.alone_s, one.record is not None))
    return here if here and here[0].record == workload.best(cpu) else []


def choose_finalists(
    tasks: Sequence[Task], ranked: Mapping[str, Sequence[Schedule]]
) -> list[Finalist]:
    """Return the schedules that are nearly the fastest, those of the dearest tasks first.

    Args:
        tasks: The tasks of a model.
        ranked: The schedules of each, by workload hash, the applied one first.
    """
    cost_s = {task.shash: task.weight * ranked[task.shash][0].alone_s for task in tasks}
    total_s = sum(cost_s.values())
    dear = sorted(tasks, key=lambda task: -cost_s[task.shash])[:_DEAREST]
    rounds: list[list[Finalist]] = [[] for _ in range(_MOST_OF_A_TASK)]
    for task in dear:
        best, *others = ranked[task.shash]
        close = [one for one in others if one.alone_s <= _CLOSE * best.alone_s]
        if cost_s[task.shash] >= _DEAR * total_s:
            for round_, schedule in zip(rounds, close, strict=False):
                round_.append(Finalist(task=task, schedule=schedule, best=best))
    return [one for round_ in rounds for one in round_][:MOST]


def is_faster(evidence: Evidence) -> bool:
    """Whether the model is faster with a finalist. evidence: of the ratio applied/finalist."""
    return evidence.low > _LEAST_GAIN.limits(evidence.baseline_median_s)[1]


def ranked_in_model(
    workload: Workload, faster: Sequence[tuple[Finalist, Evidence]], cpu: str, num_threads: int
) -> Workload:
    """Return a workload whose times agree with the order inside the model.

    The fastest gets the best time, and the others what they cost the model more for each call.

    Args:
        workload: The workload.
        faster: Its finalists that are faster than the applied schedule, with their evidence.
        cpu: The CPU model that they were measured on.
        num_threads: The number of threads.
    """
    best, weight = faster[0][0].best, faster[0][0].task.weight
    gained_s = {
        id(one.schedule): (found.now_median_s - found.now_median_s / found.ratio) / weight
        for one, found in faster
    }
    most_s, at_s = max(gained_s.values()), now_s()
    times_s = [
        (schedule.record, best.alone_s + most_s - gained_s.get(id(schedule), 0.0))
        for schedule in (best, *(one.schedule for one, _ in faster))
    ]
    return replace(
        workload,
        records=tuple(
            replace(record, data=[record.data[0], [time_s], *record.data[2:]], at_s=at_s)
            for record, time_s in times_s
            if record is not None
        ),
        untuned=tuple(
            replace(one, run_s=time_s, at_s=at_s)
            for record, time_s in times_s
            if record is None
            for one in workload.untuned
            if (one.cpu, one.num_threads) == (cpu, num_threads)
        ),
        served=(),
    )


def _affordable(budget_s: float, compile_s: float, call_s: float) -> int:
    """Return how many finalists can be built and measured in a time."""
    for count in range(MOST, 0, -1):
        least_s = MIN_EPOCHS * 2 * (1 + count) * call_s
        if count * compile_s + _START_S + max(_MEASURED_S, least_s) <= budget_s:
            return count
    return 0


def _enter(
    case: Case, built: BuiltModel, workloads: dict[str, Workload], finalists: Sequence[Finalist]
) -> tuple[list[tuple[Finalist, Artifact]], float | None]:
    """Return the finalists with the model built with each, and the seconds that compiling took."""
    applied = best_records(case, workloads)
    entered: list[tuple[Finalist, Artifact]] = []
    compiled_s: list[float] = []
    libraries = {built.artifact.sha256}  # two schedules may give the same code
    for finalist in finalists:
        shash, record = finalist.task.shash, finalist.schedule.record
        records = {other: both for other, both in applied.items() if other != shash}
        if record is not None:
            records[shash] = (workloads[shash], record)
        try:
            other = build(case, built.plan, records)
        except TvmTuneError:
            continue
        compiled_s += [] if other.compiled_s is None else [other.compiled_s]
        if other.artifact.sha256 not in libraries:
            libraries.add(other.artifact.sha256)
            entered.append((finalist, other.artifact))
    return entered, sum(compiled_s) if compiled_s else None


def _measure(
    case: Case, now: Artifact, rivals: Sequence[Artifact], call_s: float
) -> list[Evidence]:
    limit = Limit(threshold=_LEAST_GAIN, alpha=_ALPHA)
    measured = measure_finals(
        case, now, rivals, limit=limit, max_time_s=_MEASURED_S, expected_s=call_s
    )
    return [evidence_of(epochs, _ALPHA) for epochs in (measured.epochs, *measured.other_epochs)]


def _chosen(met: Sequence[tuple[Finalist, Evidence]]) -> dict[str, Finalist]:
    """Return the finalist that is applied from now on, by workload hash."""
    faster = [(one, found) for one, found in met if is_faster(found)]
    return {
        one.task.shash: one for one, _ in sorted(faster, key=lambda row: row[1].ratio)
    }  # the last of a task is its fastest
