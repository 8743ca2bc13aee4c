"""The tuner's job: from a request to records and ledger lines in the store."""

from __future__ import annotations

import json
import logging
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from pytest_tvmtune.core.clock import monotonic_s
from pytest_tvmtune.core.job_stage import JobStage
from pytest_tvmtune.core.tuning.trial_budget import TuningEnd, round_size
from pytest_tvmtune.machine.fingerprint import Fingerprint
from pytest_tvmtune.machine.remote_device import RemoteDevice
from pytest_tvmtune.processes.job import Job, WorkerContext
from pytest_tvmtune.processes.line_tail import LineTail
from pytest_tvmtune.relax import compat
from pytest_tvmtune.relax.compiling.prepared_module import extract, prepare
from pytest_tvmtune.relax.devices.targets import device_kind
from pytest_tvmtune.relax.tuning.batch_choice import BatchChoice
from pytest_tvmtune.relax.tuning.candidates.tuner_forks import start_server
from pytest_tvmtune.relax.tuning.candidates.tuning_runner import open_runner
from pytest_tvmtune.relax.tuning.intrinsics import import_intrinsics
from pytest_tvmtune.relax.tuning.rounds import RoundProgress, Rounds
from pytest_tvmtune.relax.tuning.task_search import Search, open_search, start_from
from pytest_tvmtune.store.layout import Store
from pytest_tvmtune.store.tuning.samples import machine_of, stored_samples
from pytest_tvmtune.store.tuning.work_dirs import RECORDS_FILE, write_work_dir
from pytest_tvmtune.store.tuning.workload_files import read_workload, refuse_records

if TYPE_CHECKING:
    from tvm.ir import IRModule
    from tvm.s_tir.meta_schedule.database import Database
    from tvm.target import Target


# Of earlier runs: with so many, training takes half a second.
MOST_EARLIER = 2048


@dataclass(frozen=True, kw_only=True)
class Request:
    """What is tuned.

    mod_text: the module in TVM's JSON; target: in JSON. shashes: of the workloads to tune. trials:
    for these together; requested_trials, max_trials_per_task, max_time_s: what was asked for the
    whole model; left_s: of that time.
    target_key: the store's for this target. run_id: of this run, in the ledgers. since_s: from when
    on earlier trials count. environment: TVM and the compiler, by content. machine: where they
    are measured; remote: the same, where it is a device. num_threads: of TVM's runtime there.
    """

    mod_text: str
    target: str
    prepack: bool
    shashes: frozenset[str]
    trials: int
    requested_trials: int
    max_trials_per_task: int | None
    max_time_s: float | None
    left_s: float | None
    seed: int
    store: Store
    target_key: str
    run_id: str
    since_s: float
    environment: str
    machine: Fingerprint
    num_threads: int
    remote: RemoteDevice | None


@dataclass(frozen=True, kw_only=True)
class TunedTask:
    """What became of a task. reason: why nothing valid came of it, "" where something did."""

    spent: int
    valid: int
    reason: str


@dataclass(frozen=True, kw_only=True)
class Result:
    """What became of the tasks.

    tasks: by their workloads' hashes. ended_by: why no more trials were made.
    """

    tasks: dict[str, TunedTask]
    ended_by: TuningEnd


def run(request: Request, context: WorkerContext[RoundProgress]) -> Result:
    """Spend trials on workloads of a module, and note it in their ledgers.

    Records and the trials spent are in the store after every measured batch. The ledger's line is
    marked complete only at the end, so that an interrupted run is taken up again.

    Args:
        request: What is tuned.
        context: Of this process.

    Returns:
        What became of the tasks.

    Raises:
        TuningError: It failed through no candidate's fault. Nothing of it is recorded.

    """
    context.enter_stage(JobStage("starting the tuner"))
    kind = json.loads(request.target)["kind"]
    # First, since it imports in a process of its own, while this one does.
    start_server(kind)

    import_intrinsics(kind)
    mod = compat.load_json(request.mod_text)
    rounds = _open(request, context, mod, compat.Target(request.target))
    try:
        rounds.run()
    finally:
        rounds.runner.close()
    choice = rounds.choice
    for one in choice.searches:
        # What the time was too short for is missing in the next run, too.
        was_tried = bool(one.task_trials.spent) or not choice.out_of_time
        rounds.store_results(one, complete=was_tried)
    return Result(
        tasks={
            one.task.shash: TunedTask(
                spent=one.task_trials.spent, valid=one.task_trials.valid, reason=one.outcome
            )
            for one in choice.searches
        },
        ended_by=choice.ended_by,
    )


def _open(
    request: Request, context: WorkerContext[RoundProgress], mod: IRModule, target: Target
) -> Rounds:
    from tvm.s_tir.meta_schedule.database import JSONDatabase

    from pytest_tvmtune.relax.tuning.cost_model import CostModel

    logging.basicConfig(level=logging.INFO)
    # The cost model's first predictions come from numpy's global generator.
    np.random.seed(request.seed)
    searches = [
        open_search(task, extracted)
        for task, extracted in extract(prepare(mod, target, prepack=request.prepack), target)
        if task.shash in request.shashes
    ]
    # In the job's folder, which goes however the job ends.
    work_dir = context.folder / "work_dir"
    write_work_dir(work_dir, [])
    database = JSONDatabase(work_dir=str(work_dir))
    for search in searches:
        _seed(request, search, database)
    recorded = LineTail(path=work_dir / RECORDS_FILE)
    recorded.new_lines()  # what the search is seeded with
    machine = machine_of(request.machine.cpu, request.num_threads, request.environment)
    earlier = stored_samples(request.store, request.target_key, machine, MOST_EARLIER)
    choice = BatchChoice(
        request=request,
        searches=searches,
        database=database,
        model=CostModel(earlier),
        round_size=round_size(request.trials, len(searches), request.max_trials_per_task),
        left=request.trials,
        deadline_s=monotonic_s() + (math.inf if request.left_s is None else request.left_s),
    )
    return Rounds(
        request=request,
        context=context,
        target=target,
        choice=choice,
        work_dir=work_dir,
        runner=open_runner(device_kind(target), request.remote, request.num_threads),
        recorded=recorded,
    )


def _seed(request: Request, search: Search, database: Database) -> None:
    """Start a search from the records of earlier runs; refuse records that would spoil it."""
    store, key = request.store, request.target_key
    stored = read_workload(store, key, search.task.shash)
    if stored is None:
        return
    search.task_trials.earlier = sum(
        line.spent for line in stored.served if line.at_s >= request.since_s
    )
    here = request.machine.cpu, request.num_threads
    for record in stored.records:
        # `refresh` measures again what was measured before the session.
        recent = record.at_s >= request.since_s
        own = recent and (record.cpu, record.num_threads) == here
        reason = start_from(search, record, database, own=own)
        if reason:
            refuse_records(store, key, stored, [record], reason)


JOB = Job(run=run, preload="pytest_tvmtune.relax.tuning.preload")
