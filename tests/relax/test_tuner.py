"""The tuner's job in a real child: what it stores, what failures cost, what a kill leaves."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest
import tvm
from tvm.script import ir as I  # noqa: N812
from tvm.script import relax as R  # noqa: N812
from tvm.script import tirx as T  # noqa: N812

from pytest_tvmtune.core.errors import TuningError
from pytest_tvmtune.machine.fingerprint import fingerprint
from pytest_tvmtune.processes.job import Job, WorkerContext
from pytest_tvmtune.relax.tuning import tune_job
from pytest_tvmtune.relax.tuning.rounds import RoundProgress
from pytest_tvmtune.store.layout import Store
from pytest_tvmtune.store.tuning.records import Workload
from pytest_tvmtune.store.tuning.work_dirs import write_work_dir
from pytest_tvmtune.store.tuning.workload_files import read_workload
from tests.relax.tuner_runs import KEY, LAYER, TARGET, Tuned, tasks_of
from tests.support import IMPORTABLE, REAL_PYTHON
from tests.support.modules import LargeLayer

RULE = "s_tir.meta_schedule.cpu.pytest_tvmtune_bad_rule"


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


def test_records_and_ledger_are_stored_and_the_stock_pipeline_applies_them(
    tune: Callable[..., Tuned], tmp_path: Path
) -> None:
    done = tune(LAYER, trials=8)
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
    assert scheduled(LAYER, tmp_path / "wd") == {"transpose", "fused_matmul_relu"}
    # The attribute comes from the records, not from the pipeline.
    write_work_dir(tmp_path / "empty", [])
    assert scheduled(LAYER, tmp_path / "empty") == set()


def test_a_top_up_keeps_what_was_there_and_holds_the_cap(tune: Callable[..., Tuned]) -> None:
    first = tune(LAYER, trials=4)
    before = {record.digest for record in first.known("fused_matmul_relu").records}
    more = tune(LAYER, trials=8, cap=3)
    assert all(row.spent <= 3 for row in more.answer.tasks.values())
    known = more.known("fused_matmul_relu")
    assert before <= {record.digest for record in known.records}
    assert [(one.trials, one.max_trials_per_task) for one in known.served] == [(4, None), (8, 3)]


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
        tune(LAYER, trials=4)
    store = Store(root=tmp_path / "store")
    assert not any(read_workload(store, KEY, task.shash) for task in tasks_of(LAYER).values())
    monkeypatch.delenv("CXX")
    assert all(row.valid for row in tune(LAYER, trials=4).answer.tasks.values())


def test_warnings_that_the_tests_make_errors_of_are_no_candidates(
    tune: Callable[..., Tuned], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONWARNINGS", "error")
    assert all(row.valid for row in tune(LAYER, trials=4).answer.tasks.values())


def test_a_block_that_reads_what_it_writes_has_a_reason(tune: Callable[..., Tuned]) -> None:
    done = tune(RunningSum, trials=4)
    assert done.of("running_sum").spent == 0
    assert "finds no valid schedule" in done.of("running_sum").reason
    assert done.known("running_sum").served[0].reason == done.of("running_sum").reason


def test_the_kernel_without_a_schedule_is_measured_first(tune: Callable[..., Tuned]) -> None:
    done = tune(LAYER, trials=4)
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
        tune(LAYER, trials=16, on_progress=stop)
    store = Store(root=tmp_path / "store")
    found = [read_workload(store, KEY, task.shash) for task in tasks_of(LAYER).values()]
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
