"""The tuner's job: MetaSchedule over the tasks that need it, each batch straight into the store."""

from __future__ import annotations

import json
import logging
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from pytest_tvmtune.core.environment import fingerprint, usable_cores
from pytest_tvmtune.core.results import Task
from pytest_tvmtune.relax.child import LineTail, enter_stage, tell_progress
from pytest_tvmtune.relax.prepare import extract, prepare
from pytest_tvmtune.relax.tuner.intrinsics import import_intrinsics
from pytest_tvmtune.store.layout import Store
from pytest_tvmtune.store.records import (
    Record,
    Served,
    Workload,
    add_to_workload,
    is_valid_record,
    read_workload,
)
from pytest_tvmtune.store.work_dirs import write_work_dir

BUILD_TIMEOUT_S = 60.0
RUN_TIMEOUT_S = 30.0
_MAX_ROUND = 64
_REASON_LENGTH = 160


@dataclass(kw_only=True)
class Progress:
    """What one task was given so far. ir: MetaSchedule's serialisation of its workload."""

    task: Task
    extracted: Any
    ir: str
    spent: int = 0
    valid: int = 0
    errors: Counter[str] = field(default_factory=Counter)
    reason: str = ""

    @property
    def outcome(self) -> str:
        """Why nothing valid came of it, "" where something did or nothing was tried."""
        if self.reason or self.valid or not self.spent:
            return self.reason
        most_frequent = self.errors.most_common(1)[0][0] if self.errors else "no valid candidate"
        return f"all {self.spent} candidates failed: {most_frequent}"


def tune(request: dict[str, Any]) -> dict[str, Any]:
    """Job: spend `trials` on the workloads `shashes` of a module, and note it in their ledgers.

    request: mod_text, target, prepack, shashes, trials (for these workloads together),
    requested_trials and max_trials_per_task (what was asked for the whole model), num_threads,
    seed, store_root, target_key.
    Returns {"tasks": {hash: {"spent", "valid", "reason"}}}. Records are in the store after every
    measured batch; the ledger is written at the end only, so that a run that was interrupted is
    taken up again.
    """
    import tvm

    enter_stage(request["folder"], "starting the tuner")
    target = tvm.target.Target(request["target"])
    import_intrinsics(str(target.kind.name))
    mod = tvm.ir.load_json(request["mod_text"])
    store, key = Store(root=Path(request["store_root"])), request["target_key"]
    wanted = set(request["shashes"])
    tasks = [
        Progress(task=task, extracted=extracted, ir=_serialise(extracted))
        for task, extracted in extract(prepare(mod, target, prepack=request["prepack"]), target)
        if task.shash in wanted
    ]
    # In the job's folder, which goes however the job ends.
    work_dir = request["folder"] / "work_dir"
    _seed_work_dir(store, key, tasks, work_dir)
    chosen = _searchable(_costliest(tasks, request["trials"]))
    if chosen:
        enter_stage(request["folder"], "tuning")
        _search(request, chosen, work_dir, store)
    for one in tasks:
        served = Served(
            trials=request["requested_trials"],
            max_trials_per_task=request["max_trials_per_task"],
            spent=one.spent,
            valid=one.valid,
            reason=one.outcome,
        )
        add_to_workload(store, key, _workload(one, served=(served,)))
    return {
        "tasks": {
            one.task.shash: {"spent": one.spent, "valid": one.valid, "reason": one.outcome}
            for one in tasks
        }
    }


def _serialise(extracted: Any) -> str:
    from tvm.s_tir.meta_schedule.database import Workload as StockWorkload

    return str(StockWorkload(extracted.dispatched[0]).as_json()[1])


def _seed_work_dir(store: Store, key: str, tasks: Sequence[Progress], work_dir: Path) -> None:
    """Give the search what earlier ones found, so that a top-up starts from there."""
    stored = [read_workload(store, key, one.task.shash) for one in tasks]
    write_work_dir(work_dir, [(known, known.records) for known in stored if known is not None])


def _costliest(tasks: Sequence[Progress], trials: int) -> list[Progress]:
    """Return all tasks, or with fewer trials than tasks the costliest by estimate."""
    by_cost = sorted(tasks, key=lambda one: (-one.task.weight * one.task.flop, one.task.shash))
    return by_cost[:trials]


def _searchable(tasks: Sequence[Progress]) -> list[Progress]:
    """Return the tasks whose design space can be generated; one that can't would abort them all."""
    from tvm.s_tir.meta_schedule import TuneContext

    good = []
    for one in tasks:
        context = TuneContext(
            mod=one.extracted.dispatched[0],
            target=one.extracted.target,
            space_generator="post-order-apply",
            search_strategy="evolutionary",
            task_name=one.task.name,
        )
        try:
            context.generate_design_space()
        except Exception as error:  # noqa: BLE001  a schedule rule raises whatever it likes
            one.reason = f"no design space: {_last_line(str(error))}"
        else:
            good.append(one)
    return good


def _search(
    request: dict[str, Any], chosen: Sequence[Progress], work_dir: Path, store: Store
) -> None:
    from tvm.s_tir.meta_schedule.builder import Builder
    from tvm.s_tir.meta_schedule.measure_callback import MeasureCallback
    from tvm.s_tir.meta_schedule.relax_integration import extracted_tasks_to_tune_contexts
    from tvm.s_tir.meta_schedule.runner import LocalRunner
    from tvm.s_tir.meta_schedule.tune import tune_tasks

    from pytest_tvmtune.relax.tuner.builder import ForkingBuilder

    logging.basicConfig(level=logging.INFO)
    cap = request["max_trials_per_task"] or request["trials"]
    # The first round gives each task this many before the next one gets any; what tasks with a
    # small design space leave over is dealt out by the gradient scheduler in rounds of this size.
    per_round = max(1, min(_MAX_ROUND, request["trials"] // len(chosen), cap))
    # The cost model's first predictions come from numpy's global generator.
    np.random.seed(request["seed"])
    contexts, weights = extracted_tasks_to_tune_contexts(
        [one.extracted for one in chosen],
        work_dir=str(work_dir),
        seed=request["seed"],
        num_threads=usable_cores(),
    )
    builder: Builder = ForkingBuilder(
        kind=str(chosen[0].extracted.target.kind.name),
        max_workers=usable_cores(),
        timeout_s=BUILD_TIMEOUT_S,
        scratch=work_dir,
    )
    tune_tasks(
        tasks=contexts,
        task_weights=weights,
        work_dir=str(work_dir),
        # The scheduler looks only between rounds.
        max_trials_global=max(1, request["trials"] - per_round + 1),
        max_trials_per_task=cap,
        num_trials_per_iter=per_round,
        builder=builder,
        runner=LocalRunner(timeout_sec=RUN_TIMEOUT_S),
        measure_callbacks=[
            *MeasureCallback.create("default"),
            _recorder(request, chosen, work_dir, store),
        ],
    )


def _recorder(
    request: dict[str, Any], chosen: Sequence[Progress], work_dir: Path, store: Store
) -> Any:
    """Return a callback that puts each measured batch into the store.

    It reads what MetaSchedule's own database wrote just before: Python can't serialise every
    trace (`as_json` raises on an IndexMap), the database can.
    """
    from tvm.ir.utils import derived_object
    from tvm.s_tir.meta_schedule.measure_callback import PyMeasureCallback

    tail = LineTail(path=work_dir / "database_tuning_record.json")
    tail.new_lines()  # what the search was seeded with
    machine = fingerprint()

    @derived_object
    class Recorder(PyMeasureCallback):  # type: ignore[misc]
        def apply(
            self,
            task_scheduler: Any,  # noqa: ARG002  MetaSchedule's signature
            task_id: int,
            measure_candidates: Any,  # noqa: ARG002
            builder_results: Any,
            runner_results: Any,
        ) -> None:
            one = chosen[int(task_id)]
            for built, ran in zip(builder_results, runner_results, strict=True):
                one.spent += 1
                if built.error_msg or ran.error_msg:
                    one.errors[_last_line(str(built.error_msg or ran.error_msg))] += 1
            records = [
                Record(
                    data=data,
                    cpu=machine.cpu,
                    cores=machine.usable_cores,
                    num_threads=request["num_threads"],
                )
                for _, data in map(json.loads, tail.new_lines())
                if is_valid_record(data)
            ]
            one.valid += len(records)
            known = add_to_workload(
                store, request["target_key"], _workload(one, records=tuple(records))
            )
            best = known.best(machine.cpu)
            tell_progress(
                request["folder"],
                {
                    "done": sum(other.spent for other in chosen),
                    "failed": sum(other.spent - other.valid for other in chosen),
                    "total": request["trials"],
                    "task": one.task.name,
                    "best_s": best.mean_s if best else None,
                },
            )

    return Recorder()


def _workload(
    one: Progress, *, records: tuple[Record, ...] = (), served: tuple[Served, ...] = ()
) -> Workload:
    return Workload(
        shash=one.task.shash, name=one.task.name, ir=one.ir, records=records, served=served
    )


def _last_line(text: str) -> str:
    lines = [line.strip() for line in text.strip().splitlines() if line.strip()]
    return (lines[-1] if lines else "unknown error")[:_REASON_LENGTH]
