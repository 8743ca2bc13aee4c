"""MetaSchedule's own schedules of a workload whose weight TVM's RewriteLayout loses part of."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from tvm.script import ir as I  # noqa: N812
from tvm.script import relax as R  # noqa: N812

from pytest_tvmtune.processes.job import WorkerContext

RNG = np.random.default_rng(8)
X = RNG.standard_normal((1, 8, 6, 6)).astype("float32")
W = RNG.standard_normal((8, 1, 2, 2)).astype("float32")
# The kernel is as large as its strides: each input value is spread over a square of its own.
EXPECTED = np.einsum("ihw,ikl->hkwl", X[0], W[:, 0]).reshape(1, 1, 12, 12)


@I.ir_module
class Deconvolution:
    @R.function
    def main(
        x: R.Tensor((1, 8, 6, 6), "float32"), w: R.Tensor((8, 1, 2, 2), "float32")
    ) -> R.Tensor((1, 1, 12, 12), "float32"):
        R.func_attr({"num_input": 1})
        with R.dataflow():
            y = R.nn.conv2d_transpose(x, w, strides=[2, 2])
            R.output(y)
        return y


@dataclass(frozen=True, kw_only=True)
class Request:
    """A target in JSON, and a work_dir that is not there yet."""

    target: str
    work_dir: Path


def make_work_dir(request: Request, context: WorkerContext[None]) -> list[str]:
    """Job: put a whole schedule and one that loses elements into a work_dir, this as the quickest.

    Returns what `lost_elements` says of them.
    """
    import tvm
    from tvm.s_tir.meta_schedule import TuneContext
    from tvm.s_tir.meta_schedule.database import JSONDatabase, TuningRecord
    from tvm.s_tir.meta_schedule.search_strategy import ReplayTrace

    from pytest_tvmtune.relax.compiling.prepared_module import extract, prepare
    from pytest_tvmtune.relax.tuning.weight_layouts import lost_elements

    target = tvm.target.Target(json.loads(request.target))
    ((_, extracted),) = extract(prepare(Deconvolution, target, prepack=True), target)
    tuning = TuneContext(
        mod=extracted.dispatched[0],
        target=target,
        space_generator="post-order-apply",
        search_strategy=ReplayTrace(),
        rand_state=1,
        num_threads=1,
    )
    request.work_dir.mkdir()
    database = JSONDatabase(work_dir=str(request.work_dir))
    tuning.pre_tuning(16, 16, tuning.generate_design_space(), database)
    found: dict[str, Any] = {}
    for candidate in tuning.generate_measure_candidates():
        found.setdefault(lost_elements(candidate.sch.mod), candidate)
    workload = database.commit_workload(extracted.dispatched[0])
    for told, candidate in found.items():
        trace, arguments = candidate.sch.trace, candidate.args_info
        run_secs = [1e-9 if told else 1.0]
        database.commit_tuning_record(TuningRecord(trace, workload, run_secs, target, arguments))
    return sorted(found)
