"""The tuner learns: from schedules of similar workloads, and from samples of earlier runs."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import tvm
from tvm.s_tir.meta_schedule import TuneContext
from tvm.s_tir.meta_schedule.arg_info import ArgInfo
from tvm.s_tir.meta_schedule.database import Workload as TvmWorkload
from tvm.s_tir.meta_schedule.search_strategy import MeasureCandidate

from pytest_tvmtune.machine.fingerprint import fingerprint
from pytest_tvmtune.processes.job import Job, WorkerContext
from pytest_tvmtune.relax.compiling.applied_record import apply_record
from pytest_tvmtune.relax.tuning import tune_job
from pytest_tvmtune.relax.tuning.cost_model import CostModel
from pytest_tvmtune.relax.tuning.donors import stored_donors
from pytest_tvmtune.relax.tuning.rounds import RoundProgress
from pytest_tvmtune.relax.tuning.task_search import structural_hash
from pytest_tvmtune.relax.tuning.transfer import transferred
from pytest_tvmtune.store.tuning.samples import Samples, machine_of, stored_samples
from tests.relax.tuner_runs import KEY, TARGET, Tuned, tasks_of, workload_mod
from tests.support.modules import LargeLayer, layer

# LargeLayer in another shape.
OTHER_LAYER = layer(32, 96, 160)


def tune_and_count_samples(
    request: tune_job.Request, context: WorkerContext[RoundProgress]
) -> tune_job.Result:
    """Job: tune, and print how many samples the cost model begins with."""
    create = CostModel.__init__

    def counting(self: Any, earlier: Any = ()) -> None:
        known = list(earlier)
        print("samples of earlier runs:", sum(len(one.run_s) for one in known), flush=True)
        create(self, known)

    CostModel.__init__ = counting  # type: ignore[method-assign]
    return tune_job.run(request, context)


def test_a_model_starts_from_schedules_of_a_similar_model(tune: Callable[..., Tuned]) -> None:
    donor = tune(LargeLayer, trials=8)
    name, cpu = "fused_matmul_relu", fingerprint().cpu
    donors = stored_donors(donor.store, KEY, cpu, leave_out=frozenset())
    assert donors
    context = TuneContext(
        mod=workload_mod(OTHER_LAYER, tasks_of(OTHER_LAYER)[name]),
        target=tvm.target.Target(json.loads(TARGET)),
        space_generator="post-order-apply",
    )
    expected = {structural_hash(one.mod) for one in transferred(context, donors, 1)}
    assert expected
    done = tune(OTHER_LAYER, trials=4)
    workload = TvmWorkload(context.mod)
    tried = {
        structural_hash(apply_record(record.data, workload)[1].mod)
        for record in done.known(name).records
    }
    assert tried & expected


def test_samples_of_what_ran_are_what_the_next_run_begins_with(
    tune: Callable[..., Tuned], tmp_path: Path
) -> None:
    done = tune(LargeLayer, trials=24)
    machine = machine_of(fingerprint().cpu, 1, "here")
    found = {one.shash: one for one in stored_samples(done.store, KEY, machine, 100)}
    assert {shash: len(one.run_s) for shash, one in found.items()} == {
        shash: one.valid for shash, one in done.answer.tasks.items()
    }
    again = tune(OTHER_LAYER, trials=2, job=Job(run=tune_and_count_samples))
    assert again.answer.tasks
    known = int((tmp_path / "tune.log").read_text().rpartition("samples of earlier runs: ")[2])
    assert known == sum(len(one.run_s) for one in found.values())


def test_the_cost_model_predicts_from_earlier_samples() -> None:
    """What stores more is slower: learnt from another run, for candidates of this run."""
    rng = np.random.default_rng(0)
    features = [rng.random((2, 164)).astype("float32") for _ in range(200)]
    run_s = [float(1 + one[:, 0].sum()) for one in features]
    earlier = Samples(shash="", features=tuple(features), run_s=tuple(run_s))
    model = CostModel([earlier])
    context = TuneContext(
        mod=workload_mod(LargeLayer, tasks_of(LargeLayer)["fused_matmul_relu"]),
        target=tvm.target.Target(json.loads(TARGET)),
        space_generator="post-order-apply",
    )
    candidates = [
        MeasureCandidate(space, ArgInfo.from_entry_func(space.mod, remove_preproc=True))
        for space in context.generate_design_space()
    ]
    assert model.knows_enough
    np.random.seed(1)
    first = model.predict(context, candidates)
    np.random.seed(2)
    assert list(model.predict(context, candidates)) == list(first)
    untaught = CostModel()
    np.random.seed(1)
    guess = untaught.predict(context, candidates)
    np.random.seed(2)
    assert list(untaught.predict(context, candidates)) != list(guess)
