"""The tuner's job in a real child: what it stores, what failures cost, what a kill leaves."""

from __future__ import annotations

import json
import os
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
import tvm
from tvm.s_tir.meta_schedule import TuneContext
from tvm.s_tir.meta_schedule.arg_info import ArgInfo
from tvm.s_tir.meta_schedule.database import Workload as TvmWorkload
from tvm.s_tir.meta_schedule.search_strategy import MeasureCandidate
from tvm.script import ir as I  # noqa: N812
from tvm.script import relax as R  # noqa: N812
from tvm.script import tirx as T  # noqa: N812

from pytest_tvmtune.core.errors import TuningError
from pytest_tvmtune.core.results.task_result import Task
from pytest_tvmtune.machine.fingerprint import fingerprint
from pytest_tvmtune.machine.installed_tvm import package_version
from pytest_tvmtune.processes.job import Job, JobContext, WorkerContext
from pytest_tvmtune.processes.run_job import run_job
from pytest_tvmtune.relax.compiling.applied_record import apply_record
from pytest_tvmtune.relax.compiling.prepared_module import extract, module_text, prepare
from pytest_tvmtune.relax.tuning import tune_job
from pytest_tvmtune.relax.tuning.cost_model import CostModel
from pytest_tvmtune.relax.tuning.donors import stored_donors
from pytest_tvmtune.relax.tuning.rounds import RoundProgress
from pytest_tvmtune.relax.tuning.task_search import structural_hash
from pytest_tvmtune.relax.tuning.transfer import transferred
from pytest_tvmtune.store.layout import Store, open_store
from pytest_tvmtune.store.tuning.records import Workload, target_key
from pytest_tvmtune.store.tuning.samples import Samples, machine_of, stored_samples
from pytest_tvmtune.store.tuning.work_dirs import write_work_dir
from pytest_tvmtune.store.tuning.workload_files import read_workload
from tests.support import IMPORTABLE, REAL_PYTHON
from tests.support.modules import LargeLayer

TARGET = json.dumps({"kind": "llvm", "num-cores": 2})
KEY = target_key(TARGET, package_version("tvm"))
TuneJob = Job[tune_job.Request, tune_job.Result, RoundProgress]
RULE = "s_tir.meta_schedule.cpu.pytest_tvmtune_bad_rule"


@I.ir_module
class Layer:
    """Two tasks: the transpose has a single schedule, the fused matmul has many."""

    @R.function
    def main(x: R.Tensor((16, 16), "float32"), w: R.Tensor((16, 16), "float32")) -> R.Tensor(
        (16, 16), "float32"
    ):
        R.func_attr({"num_input": 1})
        with R.dataflow():
            wt = R.permute_dims(w)
            y = R.nn.relu(R.matmul(x, wt))
            R.output(y)
        return y


@I.ir_module
class OtherLayer:
    """LargeLayer in another shape."""

    @R.function
    def main(x: R.Tensor((32, 96), "float32"), w: R.Tensor((160, 96), "float32")) -> R.Tensor(
        (32, 160), "float32"
    ):
        R.func_attr({"num_input": 1})
        with R.dataflow():
            wt = R.permute_dims(w)
            y = R.nn.relu(R.matmul(x, wt))
            R.output(y)
        return y


@I.ir_module
class OddOneOut:
    """One task asks for a schedule rule of its own, which raises where it is registered."""

    @T.prim_func(private=True, s_tir=True)
    def odd(a: T.Buffer((4, 16), "float32"), b: T.Buffer((4, 16), "float32")):
        for i, j in T.grid(4, 16):
            with T.sblock("odd"):
                vi, vj = T.axis.remap("SS", [i, j])
                T.sblock_attr({"schedule_rule": "pytest_tvmtune_bad_rule"})
                b[vi, vj] = a[vi, vj] * T.float32(2)

    @R.function
    def main(x: R.Tensor((4, 16), "float32"), w: R.Tensor((16, 16), "float32")) -> R.Tuple(
        R.Tensor((4, 16), "float32"), R.Tensor((4, 16), "float32")
    ):
        R.func_attr({"num_input": 1})
        cls = OddOneOut
        with R.dataflow():
            y = R.nn.relu(R.matmul(x, w))
            z = R.call_tir(cls.odd, (x,), R.Tensor((4, 16), "float32"))
            both = (y, z)
            R.output(both)
        return both


@I.ir_module
class RunningSum:
    """One task whose only block reads what it writes."""

    @T.prim_func(private=True, s_tir=True)
    def running_sum(x: T.Buffer((32, 64), "float32"), y: T.Buffer((32, 64), "float32")):
        for i, j in T.grid(32, 64):
            with T.sblock("scan"):
                vi, vj = T.axis.remap("SS", [i, j])
                y[vi, vj] = x[vi, vj] + T.if_then_else(vj > 0, y[vi, vj - 1], T.float32(0))

    @R.function
    def main(x: R.Tensor((32, 64), "float32")) -> R.Tensor((32, 64), "float32"):
        R.func_attr({"num_input": 1})
        cls = RunningSum
        with R.dataflow():
            s = R.call_tir(cls.running_sum, (x,), R.Tensor((32, 64), "float32"))
            R.output(s)
        return s


def tune_with_a_bad_rule(
    request: tune_job.Request, context: WorkerContext[RoundProgress]
) -> tune_job.Result:
    """Job: tune where the rule that `odd` asks for fails in the schedule itself."""

    def apply(schedule: Any, block: Any) -> list[Any]:
        schedule.reverse_compute_at(block, schedule.get_loops(block)[0])
        return [schedule]

    tvm.register_global_func(RULE, apply)
    return tune_job.run(request, context)


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


@dataclass(frozen=True, kw_only=True)
class Tuned:
    """What one job answered, and the store it worked on."""

    answer: tune_job.Result
    store: Store
    tasks: dict[str, Task]

    def known(self, name: str) -> Workload:
        found = read_workload(self.store, KEY, self.tasks[name].shash)
        assert found is not None
        return found

    def of(self, name: str) -> tune_job.TunedTask:
        return self.answer.tasks[self.tasks[name].shash]


def workload_mod(mod: tvm.IRModule, task: Task) -> tvm.IRModule:
    target = tvm.target.Target(json.loads(TARGET))
    return next(
        extracted.dispatched[0]
        for one, extracted in extract(prepare(mod, target, prepack=False), target)
        if one == task
    )


def tasks_of(mod: tvm.IRModule) -> dict[str, Task]:
    target = tvm.target.Target(json.loads(TARGET))
    return {task.name: task for task, _ in extract(prepare(mod, target, prepack=False), target)}


@pytest.fixture
def tune(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Tuned]:
    monkeypatch.setenv("PYTHONPATH", IMPORTABLE)
    store = open_store(tmp_path / "store")

    def run(
        mod: tvm.IRModule,
        *,
        trials: int,
        cap: int | None = None,
        max_time_s: float | None = None,
        job: TuneJob = tune_job.JOB,
        on_progress: Callable[[RoundProgress], None] = lambda _: None,
    ) -> Tuned:
        tasks = tasks_of(mod)
        request = tune_job.Request(
            mod_text=module_text(mod),
            target=TARGET,
            prepack=False,
            shashes=frozenset(task.shash for task in tasks.values()),
            trials=trials,
            requested_trials=trials,
            max_trials_per_task=cap,
            max_time_s=max_time_s,
            left_s=max_time_s,
            seed=0,
            store=store,
            target_key=KEY,
            run_id=secrets.token_hex(8),
            since_s=0.0,
            environment="here",
            machine=fingerprint(),
            num_threads=1,
            remote=None,
        )
        context = JobContext(
            scratch=store.scratch, log_path=tmp_path / "tune.log", timeout_s=240, num_threads=1
        )
        answer = run_job(job, request, context, on_progress)
        return Tuned(answer=answer, store=store, tasks=tasks)

    return run


def test_records_and_ledger_are_stored_and_the_stock_pipeline_applies_them(
    tune: Callable[..., Tuned], tmp_path: Path
) -> None:
    done = tune(Layer, trials=8)
    known = {name: done.known(name) for name in done.tasks}
    assert set(known) == {"transpose", "fused_matmul_relu"}
    for name, workload in known.items():
        told = done.of(name)
        assert 1 <= len(workload.records) <= told.valid <= told.spent
        served = workload.served[0]
        assert (served.trials, served.max_trials_per_task) == (8, None)
        assert (served.spent, served.valid, served.reason) == (told.spent, told.valid, "")
        assert stored_hash(workload) == workload.shash
    assert sum(row.spent for row in done.answer.tasks.values()) <= 8
    assert list(done.store.scratch.iterdir()) == []

    write_work_dir(tmp_path / "wd", [(one, one.records[:1]) for one in known.values()])
    assert scheduled(Layer, tmp_path / "wd") == {"transpose", "fused_matmul_relu"}
    # The attribute comes from the records, not from the pipeline.
    write_work_dir(tmp_path / "empty", [])
    assert scheduled(Layer, tmp_path / "empty") == set()


def test_a_top_up_keeps_what_was_there_and_holds_the_cap(tune: Callable[..., Tuned]) -> None:
    first = tune(Layer, trials=4)
    before = {record.digest for record in first.known("fused_matmul_relu").records}
    more = tune(Layer, trials=8, cap=3)
    assert all(row.spent <= 3 for row in more.answer.tasks.values())
    known = more.known("fused_matmul_relu")
    assert before <= {record.digest for record in known.records}
    assert [(one.trials, one.max_trials_per_task) for one in known.served] == [(4, None), (8, 3)]


def test_a_model_starts_from_schedules_of_a_similar_model(tune: Callable[..., Tuned]) -> None:
    donor = tune(LargeLayer, trials=8)
    name, cpu = "fused_matmul_relu", fingerprint().cpu
    donors = stored_donors(donor.store, KEY, cpu, leave_out=frozenset())
    assert donors
    context = TuneContext(
        mod=workload_mod(OtherLayer, tasks_of(OtherLayer)[name]),
        target=tvm.target.Target(json.loads(TARGET)),
        space_generator="post-order-apply",
    )
    expected = {structural_hash(one.mod) for one in transferred(context, donors, 1)}
    assert expected
    done = tune(OtherLayer, trials=4)
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
    again = tune(OtherLayer, trials=2, job=Job(run=tune_and_count_samples))
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


def test_tuning_ends_when_its_time_is_over(tune: Callable[..., Tuned]) -> None:
    done = tune(LargeLayer, trials=10_000, max_time_s=0.001)
    assert done.answer.ended_by == "time"
    assert sum(one.spent for one in done.answer.tasks.values()) < 100
    for name in done.tasks:
        (served,) = done.known(name).served
        assert (served.trials, served.max_time_s) == (10_000, 0.001)
        # Without a trial, the next run takes it up.
        assert served.complete == (served.spent > 0)


def test_a_task_without_a_design_space_costs_that_task_only(tune: Callable[..., Tuned]) -> None:
    done = tune(OddOneOut, trials=4, job=Job(run=tune_with_a_bad_rule))
    assert done.of("odd").spent == 0
    assert done.of("odd").reason.startswith("no design space: ")
    assert done.known("odd").served[0].reason == done.of("odd").reason
    assert done.known("odd").records == ()
    assert done.of("fused_matmul_relu").valid >= 1
    assert done.known("fused_matmul_relu").records


def test_a_machine_that_can_not_build_is_no_fact_about_a_candidate(
    tune: Callable[..., Tuned], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Nothing is recorded, so that the next run tunes."""
    monkeypatch.setenv("CXX", "/no/such/compiler")
    with pytest.raises(TuningError, match=r"known to be good .*/no/such/compiler.*tvmtune doctor"):
        tune(Layer, trials=4)
    store = Store(root=tmp_path / "store")
    assert not any(read_workload(store, KEY, task.shash) for task in tasks_of(Layer).values())
    monkeypatch.delenv("CXX")
    assert all(row.valid for row in tune(Layer, trials=4).answer.tasks.values())


def test_warnings_that_the_tests_make_errors_of_are_no_candidates(
    tune: Callable[..., Tuned], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONWARNINGS", "error")
    assert all(row.valid for row in tune(Layer, trials=4).answer.tasks.values())


def test_a_block_that_reads_what_it_writes_has_a_reason(tune: Callable[..., Tuned]) -> None:
    done = tune(RunningSum, trials=4)
    assert done.of("running_sum").spent == 0
    assert "finds no valid schedule" in done.of("running_sum").reason
    assert done.known("running_sum").served[0].reason == done.of("running_sum").reason


def test_the_kernel_without_a_schedule_is_measured_first(tune: Callable[..., Tuned]) -> None:
    done = tune(Layer, trials=4)
    for name in done.tasks:
        (untuned,) = done.known(name).untuned
        assert 0 < untuned.run_s < 1
        assert (untuned.num_threads, untuned.cpu) == (1, fingerprint().cpu)
        # It costs no trial.
        assert done.of(name).spent <= 4


def test_a_search_that_is_stopped_keeps_its_records_and_is_not_complete(
    tune: Callable[..., Tuned], tmp_path: Path
) -> None:
    class StopError(Exception):
        pass

    def stop(row: RoundProgress) -> None:
        raise StopError

    with pytest.raises(StopError):
        tune(Layer, trials=16, on_progress=stop)
    store = Store(root=tmp_path / "store")
    found = [read_workload(store, KEY, task.shash) for task in tasks_of(Layer).values()]
    stored = [workload for workload in found if workload is not None]
    assert any(workload.records for workload in stored)
    lines = [line for workload in stored for line in workload.served]
    assert sum(line.spent for line in lines) >= 1
    assert not any(line.complete for line in lines)


HANGING = """
import sys
from pathlib import Path
import tvm
from tvm import te
from pytest_tvmtune.relax.tuning.candidates.candidate_builder import build_candidates
from pytest_tvmtune.relax.tuning.candidates.tuner_forks import start_server
from tests.relax import test_tuner

if __name__ == "__main__":
    a = te.placeholder((8,), name="a")
    b = te.compute((8,), lambda i: a[i] + 1.0, name="b")
    mod = tvm.IRModule({"main": te.create_prim_func([a, b])})
    target = tvm.target.Target({"kind": "llvm", "num-cores": 2})
    start_server("llvm")
    build_candidates([mod] * 2, target, max_workers=2, timeout_s=600.0,
                     scratch=Path(sys.argv[1]), build=test_tuner.hang)
"""


def hang(mod_text: str, target_text: str, library: Path, compiler: str) -> None:
    """Build function: tell the process, then never end, with all signals at their defaults."""
    library.with_name("pid.tmp").write_text(str(os.getpid()))
    library.with_name("pid.tmp").rename(library.with_name("pid"))
    while True:
        signal.pause()


@pytest.mark.skipif(sys.platform != "linux", reason="reads Linux's process tree")
def test_hanging_candidates_die_with_a_killed_tuner(tmp_path: Path) -> None:
    """The tuner's server and its forks are bound to it by the kernel, whatever they do."""
    script = tmp_path / "script.py"
    script.write_text(HANGING)
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    environment = {**os.environ, "PYTHONPATH": IMPORTABLE}
    tuner = subprocess.Popen([sys.executable, str(script), str(scratch)], env=environment)
    family: list[psutil.Process] = []
    try:
        for _ in range(1200):
            pids = [int(path.read_text()) for path in scratch.glob("*/pid")]
            if len(pids) == 2:
                break
            assert tuner.poll() is None
            time.sleep(0.05)
        family = psutil.Process(tuner.pid).children(recursive=True)
        assert set(pids) <= {process.pid for process in family}
        tuner.kill()
        tuner.wait()
        _, alive = psutil.wait_procs(family, timeout=20)
        assert alive == []
    finally:
        for process in family:
            if process.is_running():
                process.kill()
        tuner.kill()
        tuner.wait()


AFTERWARDS = """
import inspect, sys
import tvm, tvm.runtime
from pytest_tvmtune.relax.tuning.intrinsics import import_intrinsics
stack, enabled = inspect.stack, tvm.runtime.enabled

def fail(name):
    raise RuntimeError("half way")

tvm.runtime.enabled = fail
try:
    import_intrinsics("llvm")
except RuntimeError as error:
    print(error)
tvm.runtime.enabled = enabled
print(inspect.stack is stack, "tvm.s_tir.tensor_intrin.cuda" in sys.modules)
import_intrinsics("llvm")
import tvm.s_tir.tensor_intrin.rocm as rocm
print(inspect.stack is stack, rocm.__file__.endswith("rocm.py"))
"""


def test_a_failed_import_is_undone_and_left_out_intrinsics_load_later() -> None:
    done = subprocess.run(
        [REAL_PYTHON, "-c", AFTERWARDS],
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.stdout.split("\n")[:3] == ["half way", "True False", "True True"], done.stderr


def stored_hash(workload: Workload) -> str:
    """Return the structural hash of the stored IR itself, computed anew."""
    from tvm.s_tir.meta_schedule.database import Workload as StockWorkload
    from tvm.s_tir.meta_schedule.utils import shash2hex

    stock = StockWorkload.from_json([str(int(workload.shash, 16)), workload.ir])
    return f"{int(shash2hex(stock.mod), 16):016x}"


def scheduled(mod: tvm.IRModule, work_dir: Path) -> set[str]:
    """Return the PrimFuncs that the stock pipeline takes from a work_dir."""
    from tvm import relax, tirx

    pipeline = relax.pipeline.static_shape_tuning_pipeline(
        total_trials=0, target=tvm.target.Target(json.loads(TARGET)), work_dir=str(work_dir)
    )
    return {
        str(var.name_hint)
        for var, function in pipeline(mod).functions_items()
        if isinstance(function, tirx.PrimFunc) and function.attrs.get("tirx.is_scheduled", False)
    }
