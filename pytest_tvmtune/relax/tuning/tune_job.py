"""The tuner's job: from a request to records and ledger lines in the store."""

from __future__ import annotations

import json
import logging
import os
from typing import TYPE_CHECKING, Any

import numpy as np

from pytest_tvmtune.core.tuning.trial_budget import round_size
from pytest_tvmtune.machine.fingerprint import fingerprint
from pytest_tvmtune.processes.worker import LineTail, enter_stage
from pytest_tvmtune.relax.compiling.prepared_module import extract, prepare
from pytest_tvmtune.relax.tuning.candidate_runner import Runner
from pytest_tvmtune.relax.tuning.intrinsics import import_intrinsics
from pytest_tvmtune.relax.tuning.rounds import Rounds
from pytest_tvmtune.relax.tuning.task_search import Search, open_search, start_from
from pytest_tvmtune.relax.tuning.tuner_forks import start_server
from pytest_tvmtune.store.tuning.work_dirs import RECORDS_FILE, write_work_dir
from pytest_tvmtune.store.tuning.workload_files import read_workload, refuse_records

if TYPE_CHECKING:
    from tvm.ir import IRModule
    from tvm.s_tir.meta_schedule.database import Database
    from tvm.target import Target

RUN_TIMEOUT_S = 30.0


def tune(request: dict[str, Any]) -> dict[str, Any]:
    """Job: spend `trials` on the workloads `shashes` of a module, and note it in their ledgers.

    request: mod_text, target (JSON), prepack, shashes, trials (for these workloads together),
    requested_trials and max_trials_per_task (what was asked for the whole model), seed,
    store (a Store), target_key, run_id, since_s (from when on earlier trials count), environment
    (TVM and the compiler, by content).
    Returns {"tasks": {hash: {"spent", "valid", "reason"}}}. Records and what was spent are in the
    store after every measured batch; the ledger's line is marked complete at the end only, so
    that a run that was interrupted is taken up again.
    Raises TuningError, with nothing recorded of it, for what is no candidate's fault.
    """
    enter_stage(request["folder"], "starting the tuner")
    kind = json.loads(request["target"])["kind"]
    # First, since it imports in a process of its own, while this one does.
    start_server(kind)
    import tvm

    import_intrinsics(kind)
    mod = tvm.ir.load_json(request["mod_text"])
    rounds = _open(request, mod, tvm.target.Target(request["target"]))
    try:
        rounds.run()
    finally:
        rounds.runner.close()
    for one in rounds.searches:
        rounds.store_results(one, complete=True)
    return {
        "tasks": {
            one.task.shash: {
                "spent": one.task_trials.spent,
                "valid": one.task_trials.valid,
                "reason": one.outcome,
            }
            for one in rounds.searches
        }
    }


def _open(request: dict[str, Any], mod: IRModule, target: Target) -> Rounds:
    from tvm.s_tir.meta_schedule.database import JSONDatabase

    from pytest_tvmtune.relax.tuning.cost_model import CostModel

    logging.basicConfig(level=logging.INFO)
    # The cost model's first predictions come from numpy's global generator.
    np.random.seed(request["seed"])
    wanted = set(request["shashes"])
    searches = [
        open_search(task, extracted)
        for task, extracted in extract(prepare(mod, target, prepack=request["prepack"]), target)
        if task.shash in wanted
    ]
    # In the job's folder, which goes however the job ends.
    work_dir = request["folder"] / "work_dir"
    write_work_dir(work_dir, [])
    database = JSONDatabase(work_dir=str(work_dir))
    for search in searches:
        _seed(request, search, database)
    recorded = LineTail(path=work_dir / RECORDS_FILE)
    recorded.new_lines()  # what the search is seeded with
    return Rounds(
        request=request,
        target=target,
        searches=searches,
        round_size=round_size(request["trials"], len(searches), request["max_trials_per_task"]),
        left=request["trials"],
        work_dir=work_dir,
        database=database,
        model=CostModel(),
        runner=Runner(timeout_s=RUN_TIMEOUT_S),
        recorded=recorded,
    )


def _seed(request: dict[str, Any], search: Search, database: Database) -> None:
    """Let a search start from what earlier runs left; refuse records that would spoil it."""
    store, key = request["store"], request["target_key"]
    stored = read_workload(store, key, search.task.shash)
    if stored is None:
        return
    search.task_trials.earlier = sum(
        line.spent for line in stored.served if line.at_s >= request["since_s"]
    )
    here = fingerprint().cpu, int(os.environ["TVM_NUM_THREADS"])
    for record in stored.records:
        # `refresh` measures again what was measured before the session.
        recent = record.at_s >= request["since_s"]
        own = recent and (record.cpu, record.num_threads) == here
        reason = start_from(search, record, database, own=own)
        if reason:
            refuse_records(store, key, stored, [record], reason)
