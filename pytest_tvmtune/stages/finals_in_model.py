"""Stage: the best schedules of the slowest tasks meet once more, inside the model.

A candidate is measured alone: its data is in the caches, and no other kernel has left its threads
spinning. What is the fastest alone may be slower in the model. So the model is also built with the
runner-up of a task in place of its best schedule, and the builds are measured in turn, as the gate
measures them.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

from pytest_tvmtune.core.clock import now_s
from pytest_tvmtune.core.error_text import cause_of
from pytest_tvmtune.core.errors import ChildError, CompileError, DeviceError
from pytest_tvmtune.core.gating.confidence_sequence import MIN_EPOCHS, Evidence, evidence_of
from pytest_tvmtune.core.results.final_in_model import FinalInModel
from pytest_tvmtune.core.results.task_result import Task
from pytest_tvmtune.core.settings.quantities import Threshold
from pytest_tvmtune.relax.measuring.gate_job import Limit
from pytest_tvmtune.stages.case import Case
from pytest_tvmtune.stages.compiling import BuiltModel, build
from pytest_tvmtune.stages.explaining.crashed_kernel import FAULTS
from pytest_tvmtune.stages.latency.paired_measurement import measure_finals
from pytest_tvmtune.stages.outcomes import CompileOutcome, FinalsOutcome, TuningOutcome
from pytest_tvmtune.stages.tuned_build import build_tuned
from pytest_tvmtune.stages.tuning_tasks import Records, best_records, stored_workloads
from pytest_tvmtune.store import builds
from pytest_tvmtune.store.artifacts import Artifact
from pytest_tvmtune.store.locks import try_lock
from pytest_tvmtune.store.tuning.records import Preferred, Record, Workload
from pytest_tvmtune.store.tuning.workload_files import add_to_workload

# With fewer trials, what the search happened to find matters more than which of it is chosen.
LEAST_TRIALS = 32
# Of the time that tuning took, but as long as a small model's finals may take.
_TIME_SHARE = 0.2
_SHORTEST_S = 8.0
_MEASURED_S = 3.0
# Of a new process that loads TVM and the libraries.
_START_S = 2.0
# Of a call's time in its tasks, a task has at least this share.
_LEAST_SHARE = 0.05
_MOST_TASKS = 3
# Of a task, those within this ratio of its best, alone.
_CLOSE = 1.3
_MOST_OF_A_TASK = 2
MOST = 4
# What gains less doesn't matter.
_LEAST_GAIN = 0.005
_ALPHA = 0.05


@dataclass(frozen=True, kw_only=True, eq=False)
class Schedule:
    """A schedule of a task. record: None for the untuned kernel. alone_s: of a call, alone."""

    record: Record | None
    alone_s: float

    @property
    def digest(self) -> str:
        """The digest of its record, "" for the untuned kernel."""
        return self.record.digest if self.record else ""


@dataclass(frozen=True, kw_only=True, eq=False)
class Finalist:
    """A schedule that meets `best`, the schedule that is the fastest alone."""

    task: Task
    schedule: Schedule
    best: Schedule


def build_with_finals(
    case: Case, plan: builds.Plan, tuned: TuningOutcome
) -> tuple[CompileOutcome, FinalsOutcome]:
    """Return the model built with the schedules that are the fastest inside it, as far as is known.

    Args:
        case: The case.
        plan: Its tasks.
        tuned: What tuning came to in this run.

    Raises:
        CompileError: TVM refuses the model.
        ChildError: It crashes or hangs.
    """
    compiled = build_tuned(case, plan)
    if not tuned.tuned or tuned.trials_spent < LEAST_TRIALS:
        return compiled, FinalsOutcome()
    finals = _hold(case, plan, tuned)
    if not finals.changed:
        return compiled, finals
    first_s = [one for one in (finals.compiled_s, compiled.built.compiled_s) if one is not None]
    finals = replace(finals, compiled_s=sum(first_s) if first_s else None)
    return build_tuned(case, plan), finals


def _hold(case: Case, plan: builds.Plan, tuned: TuningOutcome) -> FinalsOutcome:
    """Compare the best schedules of the slowest tasks inside the model, and note which is faster.

    Only one schedule is replaced, so that what is applied from then on was measured as a whole.
    Only tasks that were tuned now take part, since other models may use the others.
    """
    with _locked(case, plan, tuned.tuned) as shashes:
        workloads = stored_workloads(case, plan)
        ranked = {
            shash: ranked_alone(one, case.machine.cpu, case.num_threads)
            for shash, one in workloads.items()
        }
        if any(one.records and not ranked[shash] for shash, one in workloads.items()):
            return FinalsOutcome()  # it was measured elsewhere: what it takes isn't known
        tasks = [task for task in plan.tasks if ranked.get(task.shash)]
        finalists = choose_finalists(tasks, ranked, shashes)
        if not finalists:
            return FinalsOutcome()
        # Another process may have tuned others of its tasks meanwhile.
        applied = best_records(case, workloads)
        built = build(case, plan, applied)
        call_s = sum(task.weight * ranked[task.shash][0].alone_s for task in tasks)
        budget_s = max(_SHORTEST_S, _TIME_SHARE * tuned.seconds)
        most = _affordable(budget_s, built.build.compile_s, call_s)
        entered = _enter(case, built, applied, workloads, finalists[:most])
        met, problem = _measure(case, built.artifact, entered.artifacts, call_s)
        winner = fastest_in_model(list(zip(entered.finalists, met, strict=False)))
        if winner is not None and not _prefer(case, plan.target_key, workloads, winner):
            winner = None
    results = [
        _result(one, found, chosen=one is winner)
        for one, found in zip(entered.finalists, met, strict=False)
    ]
    missing = () if met else tuple(_not_measured(one, problem) for one in entered.finalists)
    return FinalsOutcome(
        results=(*results, *missing, *entered.left_out), compiled_s=entered.compiled_s
    )


def ranked_alone(workload: Workload, cpu: str, num_threads: int) -> list[Schedule]:
    """Return a workload's schedules that were measured on this machine, the applied one first.

    Empty if that was measured elsewhere. It's the only one if it was preferred before.
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
    fastest, best = workload.fastest(cpu), workload.best(cpu)
    if fastest is not None and fastest.num_threads != num_threads:
        return []
    applied = [one for one in here if one.record == best]
    return here if applied == here[:1] else applied


def choose_finalists(
    tasks: Sequence[Task],
    ranked: Mapping[str, Sequence[Schedule]],
    shashes: Collection[str],
) -> list[Finalist]:
    """Return the schedules that are nearly the fastest, those of the slowest tasks first.

    Args:
        tasks: The tasks of a model.
        ranked: The schedules of each, by workload hash, the applied schedule first.
        shashes: Of the tasks that may take part.
    """
    cost_s = {task.shash: task.weight * ranked[task.shash][0].alone_s for task in tasks}
    least_s = _LEAST_SHARE * sum(cost_s.values())
    own = [task for task in tasks if task.shash in shashes and cost_s[task.shash] >= least_s]
    rounds: list[list[Finalist]] = [[] for _ in range(_MOST_OF_A_TASK)]
    for task in sorted(own, key=lambda task: -cost_s[task.shash])[:_MOST_TASKS]:
        best, *others = ranked[task.shash]
        close = [one for one in others if one.alone_s <= _CLOSE * best.alone_s]
        for round_, schedule in zip(rounds, close, strict=False):
            round_.append(Finalist(task=task, schedule=schedule, best=best))
    return [one for round_ in rounds for one in round_][:MOST]


def fastest_in_model(met: Sequence[tuple[Finalist, Evidence]]) -> Finalist | None:
    """Return the finalist that makes the model the fastest, None if none makes it faster.

    met: the finalists with the evidence on the ratio applied/finalist.
    """
    slowest = [(found.low, one) for one, found in met]
    low, fastest = max(slowest, key=lambda row: row[0], default=(0.0, None))
    return fastest if low > 1 + _LEAST_GAIN else None


@contextmanager
def _locked(case: Case, plan: builds.Plan, shashes: Collection[str]) -> Iterator[list[str]]:
    """Hold the locks of tuned tasks; yield the hashes of those that no other process tunes."""
    locks = {
        shash: try_lock(case.store.lock(f"{plan.target_key}-{shash}")) for shash in sorted(shashes)
    }
    try:
        yield [shash for shash, lock in locks.items() if lock]
    finally:
        for lock in filter(None, locks.values()):
            lock.release()


def _affordable(budget_s: float, compile_s: float, call_s: float) -> int:
    """Return how many finalists can be built and measured in a time, roughly."""
    for count in range(MOST, 0, -1):
        least_s = MIN_EPOCHS * 2 * (1 + count) * call_s
        if count * compile_s + _START_S + max(_MEASURED_S, least_s) <= budget_s:
            return count
    return 0


@dataclass(frozen=True, kw_only=True, eq=False)
class _Entered:
    """Finalists with the models built with them, in the same order, and those left out."""

    finalists: list[Finalist] = field(default_factory=list)
    artifacts: list[Artifact] = field(default_factory=list)
    left_out: list[FinalInModel] = field(default_factory=list)
    compiled_s: float | None = None


def _enter(
    case: Case,
    built: BuiltModel,
    applied: Records,
    workloads: Mapping[str, Workload],
    finalists: Sequence[Finalist],
) -> _Entered:
    """Build the model with each finalist. What doesn't build or run is left out.

    What fails through no schedule's fault ends it: it would fail again.
    """
    entered = _Entered()
    libraries = {built.artifact.sha256}  # two schedules may give the same code
    compiled_s: list[float] = []
    for finalist in finalists:
        shash, record = finalist.task.shash, finalist.schedule.record
        records = {other: both for other, both in applied.items() if other != shash}
        if record is not None:
            records[shash] = (workloads[shash], record)
        try:
            other = build(case, built.plan, records)
        except (CompileError, ChildError, DeviceError) as error:
            entered.left_out.append(_not_measured(finalist, cause_of(error)))
            if isinstance(error, CompileError) or getattr(error, "cause", "") in FAULTS:
                continue
            break
        compiled_s += [] if other.compiled_s is None else [other.compiled_s]
        if other.artifact.sha256 not in libraries:
            libraries.add(other.artifact.sha256)
            entered.finalists.append(finalist)
            entered.artifacts.append(other.artifact)
    return replace(entered, compiled_s=sum(compiled_s) if compiled_s else None)


def _measure(
    case: Case, now: Artifact, rivals: Sequence[Artifact], call_s: float
) -> tuple[list[Evidence], str]:
    """Return the evidence on each ratio now/rival; none, and why, if it can't be measured."""
    if not rivals:
        return [], ""
    limit = Limit(threshold=Threshold(text="", ratio=_LEAST_GAIN), alpha=_ALPHA)
    try:
        measured = measure_finals(
            case, now, rivals, limit=limit, max_time_s=_MEASURED_S, expected_s=call_s
        )
    except (ChildError, CompileError, DeviceError) as error:
        return [], cause_of(error)
    return [evidence_of(one, _ALPHA) for one in (measured.epochs, *measured.other_epochs)], ""


def _prefer(case: Case, key: str, workloads: dict[str, Workload], winner: Finalist) -> bool:
    """Note that a finalist is applied from now on; return whether it is."""
    workload = workloads[winner.task.shash]
    preferred = Preferred(
        digest=winner.schedule.digest,
        over=winner.best.digest,
        cpu=case.machine.cpu,
        num_threads=case.num_threads,
        at_s=now_s(),
    )
    noted = replace(workload, records=(), served=(), preferred=(preferred,))
    best = add_to_workload(case.store, key, noted).best(case.machine.cpu)
    return (best.digest if best else "") == winner.schedule.digest


def _result(finalist: Finalist, found: Evidence, *, chosen: bool) -> FinalInModel:
    return FinalInModel(
        task=finalist.task.name,
        is_untuned=finalist.schedule.record is None,
        ratio=1 / found.ratio,
        interval=(1 / found.high, 1 / found.low) if found.low else None,
        chosen=chosen,
    )


def _not_measured(finalist: Finalist, problem: str) -> FinalInModel:
    is_untuned = finalist.schedule.record is None
    return FinalInModel(task=finalist.task.name, is_untuned=is_untuned, problem=problem)
