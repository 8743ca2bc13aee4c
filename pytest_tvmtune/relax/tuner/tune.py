"""The tuner's job: search, build, measure, store, round by round, until the trials are spent.

The next round is searched while this one is built; while it is measured, nothing else of ours
runs on the machine.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pytest_tvmtune.core.budget import PATIENCE, next_task, round_size
from pytest_tvmtune.core.environment import fingerprint, usable_cores
from pytest_tvmtune.relax.child import LineTail, enter_stage, tell_progress
from pytest_tvmtune.relax.prepare import extract, prepare
from pytest_tvmtune.relax.targets import device_kind
from pytest_tvmtune.relax.tuner.builder import Built, build_candidates
from pytest_tvmtune.relax.tuner.forks import start_server
from pytest_tvmtune.relax.tuner.intrinsics import import_intrinsics
from pytest_tvmtune.relax.tuner.runner import Runner
from pytest_tvmtune.relax.tuner.search import (
    Search,
    generate,
    last_line,
    learn,
    make_cost_model,
    open_search,
)
from pytest_tvmtune.store.locks import exclusive_cores, shared_cores
from pytest_tvmtune.store.records import Record, Served, Workload, is_valid_record
from pytest_tvmtune.store.work_dirs import RECORDS_FILE, write_work_dir
from pytest_tvmtune.store.workloads import add_to_workload, read_workload

BUILD_TIMEOUT_S = 60.0
RUN_TIMEOUT_S = 30.0


def tune(request: dict[str, Any]) -> dict[str, Any]:
    """Job: spend `trials` on the workloads `shashes` of a module, and note it in their ledgers.

    request: mod_text, target (JSON), prepack, shashes, trials (for these workloads together),
    requested_trials and max_trials_per_task (what was asked for the whole model), seed,
    store (a Store), target_key, run_id.
    Returns {"tasks": {hash: {"spent", "valid", "reason"}}}. Records and what was spent are in the
    store after every measured batch; the ledger's line is marked complete at the end only, so
    that a run that was interrupted is taken up again.
    """
    enter_stage(request["folder"], "starting the tuner")
    kind = json.loads(request["target"])["kind"]
    start_server(kind)
    import tvm

    import_intrinsics(kind)
    target = tvm.target.Target(request["target"])
    mod = tvm.ir.load_json(request["mod_text"])
    job = _open_job(request, mod, target)
    try:
        job.run()
    finally:
        job.runner.close()
    for one in job.searches:
        job.keep(one, complete=True)
    return {
        "tasks": {
            one.task.shash: {
                "spent": one.account.spent,
                "valid": one.account.valid,
                "reason": one.outcome,
            }
            for one in job.searches
        }
    }


@dataclass(kw_only=True)
class _Batch:
    """Candidates of one task on their way to be built and measured."""

    search: Search
    candidates: list[Any]


@dataclass(kw_only=True)
class _Job:
    """One tuning run: its tasks, what they share, and the trials not yet given out."""

    request: dict[str, Any]
    target: Any
    searches: list[Search]
    round_size: int
    left: int
    work_dir: Path
    database: Any
    model: Any
    runner: Runner
    recorded: LineTail
    done: int = 0

    def run(self) -> None:
        """Spend the trials."""
        enter_stage(self.request["folder"], "tuning")
        batch = self._next_batch()
        with ThreadPoolExecutor(1) as searcher:
            while batch is not None:
                with shared_cores():
                    upcoming = searcher.submit(self._next_batch, batch)
                    built = build_candidates(
                        [one.sch.mod for one in batch.candidates],
                        self.target,
                        max_workers=usable_cores(),
                        timeout_s=BUILD_TIMEOUT_S,
                        scratch=self.work_dir,
                    )
                    following = upcoming.result()
                with exclusive_cores():
                    run_secs = self._measure(batch, built)
                self._record(batch, run_secs)
                batch = following or self._next_batch()

    def _next_batch(self, under_way: _Batch | None = None) -> _Batch | None:
        """Return the next candidates, or None when the trials are spent.

        under_way: a batch of which nothing is known yet; when its task would be next again, None.
        """
        cap = self.request["max_trials_per_task"]
        while True:
            account = next_task(
                [one.account for one in self.searches],
                left=self.left,
                cap=cap,
                # As long as it stays within its fair share.
                patience=max(PATIENCE, self.request["trials"] // len(self.searches)),
            )
            search = next((one for one in self.searches if one.account is account), None)
            if search is None or (under_way is not None and search is under_way.search):
                return None
            candidates = generate(
                search,
                trials=self.request["trials"],
                round_size=self.round_size,
                seed=self.request["seed"],
                database=self.database,
                model=self.model,
            )
            room = self.left if cap is None else min(self.left, cap - search.account.spent)
            if candidates := candidates[:room]:
                search.account.spent += len(candidates)
                self.left -= len(candidates)
                return _Batch(search=search, candidates=candidates)

    def _measure(self, batch: _Batch, built: Sequence[Built]) -> list[float | None]:
        search, account = batch.search, batch.search.account
        run_secs: list[float | None] = []
        best_s = account.latency_s
        for candidate, one in zip(batch.candidates, built, strict=True):
            problem = one.problem
            run_s = None
            if one.library is not None:
                measured = self.runner.measure(
                    one.library,
                    [_plain(info.as_json()) for info in candidate.args_info],
                    device_kind(self.target),
                    best_s=best_s,
                )
                one.discard()
                problem, run_s = measured.problem, measured.run_s
            if problem:
                search.errors[last_line(problem)] += 1
            if run_s is not None:
                best_s = min(best_s, run_s)
            run_secs.append(run_s)
        account.valid += sum(run_s is not None for run_s in run_secs)
        account.best_s.append(best_s)
        return run_secs

    def _record(self, batch: _Batch, run_secs: Sequence[float | None]) -> None:
        """Put what was measured into the search's database and into the store."""
        from tvm.s_tir.meta_schedule.database import TuningRecord

        workload = self.database.commit_workload(batch.search.extracted.dispatched[0])
        for candidate, run_s in zip(batch.candidates, run_secs, strict=True):
            if run_s is not None:
                record = TuningRecord(
                    candidate.sch.trace, workload, [run_s], self.target, candidate.args_info
                )
                self.database.commit_tuning_record(record)
        learn(batch.search, batch.candidates, run_secs, self.model)
        self.done += len(batch.candidates)
        # As the database wrote them: TuningRecord.as_json raises on a trace with an IndexMap.
        machine = fingerprint()
        records = tuple(
            Record(
                data=data,
                cpu=machine.cpu,
                cores=machine.usable_cores,
                num_threads=self.runner.num_threads,
            )
            for _, data in map(json.loads, self.recorded.new_lines())
            if is_valid_record(data)
        )
        known = self.keep(batch.search, records=records)
        best = known.best(machine.cpu)
        tell_progress(
            self.request["folder"],
            {
                "done": self.done,
                "failed": sum(sum(one.errors.values()) for one in self.searches),
                "total": self.request["trials"],
                "task": batch.search.task.name,
                "best_s": best.mean_s if best else None,
            },
        )

    def keep(
        self, search: Search, *, records: tuple[Record, ...] = (), complete: bool = False
    ) -> Workload:
        """Put records, and what was spent so far, into the store; return what it then knows."""
        request, account = self.request, search.account
        served = Served(
            run_id=request["run_id"],
            at_s=time.time(),
            trials=request["requested_trials"],
            max_trials_per_task=request["max_trials_per_task"],
            spent=account.spent,
            valid=account.valid,
            complete=complete,
            reason=search.outcome if complete else "",
        )
        workload = Workload(
            shash=search.task.shash,
            name=search.task.name,
            ir=search.ir,
            records=records,
            served=(served,),
        )
        return add_to_workload(request["store"], request["target_key"], workload, own_ir=True)


def _open_job(request: dict[str, Any], mod: Any, target: Any) -> _Job:
    from tvm.s_tir.meta_schedule.database import JSONDatabase

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
    _seed_work_dir(request, searches, work_dir)
    recorded = LineTail(path=work_dir / RECORDS_FILE)
    recorded.new_lines()  # what the search is seeded with
    return _Job(
        request=request,
        target=target,
        searches=searches,
        round_size=round_size(request["trials"], len(searches), request["max_trials_per_task"]),
        left=request["trials"],
        work_dir=work_dir,
        database=JSONDatabase(work_dir=str(work_dir)),
        model=make_cost_model(),
        runner=Runner(timeout_s=RUN_TIMEOUT_S),
        recorded=recorded,
    )


def _seed_work_dir(request: dict[str, Any], searches: Sequence[Search], work_dir: Path) -> None:
    """Give the search what earlier ones found, so that a top-up starts from there."""
    known = {}
    for one in searches:
        stored = read_workload(request["store"], request["target_key"], one.task.shash)
        if stored is not None:
            known[stored.shash] = (stored, stored.records)
            best = stored.best(fingerprint().cpu)
            one.account.best_s += [best.mean_s] if best else []
    write_work_dir(work_dir, list(known.values()))


def _plain(value: Any) -> Any:
    """Return TVM's arrays as lists and its strings and integers as Python's."""
    if isinstance(value, str):
        return str(value)
    if isinstance(value, int):
        return int(value)
    return [_plain(one) for one in value]
