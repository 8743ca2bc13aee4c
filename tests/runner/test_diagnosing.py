"""Wrong numbers followed to where they begin: in builds with real records and relaid weights."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tvm
from cases import opener
from modules import TwoLayers
from tvm import relax
from tvm.relax.expr_functor import PyExprMutator, mutator

from pytest_tvmtune.core.errors import ModelError, StoreError
from pytest_tvmtune.core.results import ErrorResult
from pytest_tvmtune.core.tolerances import How, Tolerance
from pytest_tvmtune.relax.build import _entry_points
from pytest_tvmtune.relax.kernels import compile_module, describe, write_kernels
from pytest_tvmtune.runner import diagnosing
from pytest_tvmtune.runner.building import Built
from pytest_tvmtune.runner.case import Case, tuning_key
from pytest_tvmtune.runner.comparing import note_error
from pytest_tvmtune.runner.diagnosing import first_divergence
from pytest_tvmtune.runner.preparing import counterpart_build, reference_build, tune_and_build
from pytest_tvmtune.runner.tuning import best_records, plan, stored_workloads
from pytest_tvmtune.store import artifacts
from pytest_tvmtune.store.layout import Store, open_store
from pytest_tvmtune.store.work_dirs import write_work_dir

DTYPE = Tolerance()
RNG = np.random.default_rng(2)
X, V, W = (
    RNG.standard_normal(shape).astype("float32") / 6 for shape in ((4, 48), (48, 48), (48, 48))
)


@dataclass(frozen=True, kw_only=True, eq=False)
class Tuned:
    """The prepacked case, its build, and the store."""

    case: Case
    built: Built
    store: Store

    def changed(self, folder: Path, change: Callable[[Any], Any]) -> Built:
        """Return the build with its lowered module changed."""
        work_dir = folder / "work_dir"
        tasks = plan(self.case, prepack=True)
        workloads = stored_workloads(self.case, tasks, tuning_key(self.case))
        records = best_records(workloads)
        write_work_dir(work_dir, [(workload, [record]) for workload, record in records.values()])
        target = tvm.target.Target(self.case.target_json)
        pipeline = relax.pipeline.static_shape_tuning_pipeline(
            total_trials=0, target=target, work_dir=str(work_dir), cpu_weight_prepack=True
        )
        lowered = change(pipeline(self.case.model.mod))
        executable, compiled, planned = compile_module(lowered, target)
        executable.export_library(str(folder / artifacts.LIBRARY))
        write_kernels(compiled, folder / artifacts.KERNELS)
        names = {task.name: (task.shash, records[task.shash][1].digest) for task in tasks}
        manifest = replace(
            self.built.artifact.manifest,
            entries=_entry_points(lowered, planned),
            kernels=describe(compiled, names),
        )
        artifact = artifacts.publish(self.store, folder / artifacts.LIBRARY, manifest)
        return replace(self.built, artifact=artifact)


@pytest.fixture(scope="module")
def tuned(tmp_path_factory: pytest.TempPathFactory) -> Tuned:
    store = open_store(tmp_path_factory.mktemp("tuned") / "store")
    case = opener(store)(TwoLayers, prepack=True, params=[V, W], inputs=[X], settings={"trials": 4})
    return Tuned(case=case, built=tune_and_build(case), store=store)


def test_relaid_weights_alone_diverge_nowhere(tuned: Tuned) -> None:
    kernels = tuned.built.artifact.manifest.kernels
    assert {name.endswith("_prepacked") for name in kernels if kernels[name].record} == {True}
    reference = reference_build(tuned.case, tuned.built)
    assert reference is not None
    for other in (reference, counterpart_build(tuned.case)):
        told = first_divergence(tuned.case, tuned.built, other, against="it", tolerance=DTYPE)
        assert (told.kind, told.calls) == ("none", 2)


def half(function: Any) -> Any:
    """Return a PrimFunc with 0.5 for each 0.0: of where relu cuts off, and where sums begin."""
    text = function.script().replace("T.float32(0.0)", "T.float32(0.5)")
    assert text != function.script()
    return tvm.script.from_source(text).with_attrs(dict(function.attrs))


def test_a_wrong_kernel_with_relaid_weights_is_named_with_its_schedule(
    tuned: Tuned, tmp_path: Path
) -> None:
    def change(lowered: Any) -> Any:
        functions = dict(lowered.functions_items())
        for var, function in functions.items():
            if str(var.name_hint).endswith("_prepacked"):
                functions[var] = half(function)
        return tvm.IRModule(functions)

    wrong = tuned.changed(tmp_path, change)
    error = ErrorResult(against="expected", passed=False, max_abs_error=0.5, max_rel_error=1.0)
    (finding,) = note_error(tuned.case, wrong, error, How())
    (told,) = tuned.case.result.divergences
    assert told.kind == "kernel"
    assert told.kernel.endswith("_prepacked")
    assert told.other == told.kernel.removesuffix("_prepacked").rstrip("1")
    assert (told.call, told.calls, told.input_error) == (0, 2, 0.0)
    assert told.tuned
    assert "sch.get_sblock(" in told.trace
    assert f"first diverging kernel: {told.kernel} (tuned, record {told.record[:12]})" in finding
    assert f"reproducer: python {told.reproducer}/repro.py" in finding
    assert Path(told.reproducer).parent == tuned.store.reproducers
    script = Path(told.reproducer) / "repro.py"
    done = subprocess.run([sys.executable, "-I", script], capture_output=True, check=False)
    assert (done.returncode, b"the fault shows" in done.stdout) == (1, True), done.stderr


@pytest.mark.parametrize("failure", [ModelError("odd type"), StoreError("disk full")])
def test_a_search_that_fails_leaves_the_finding(
    tuned: Tuned, monkeypatch: pytest.MonkeyPatch, failure: Exception
) -> None:
    def fail(*_: Any, **__: Any) -> Any:
        raise failure

    monkeypatch.setattr(diagnosing, "run_job", fail)
    error = ErrorResult(
        against="expected", passed=False, max_abs_error=0.5, max_rel_error=1.0, message="by far"
    )
    (finding,) = note_error(tuned.case, tuned.built, error, How())
    assert finding == (
        f"{tuned.case.label}: wrong numbers against expected: by far\n"
        f"  the first diverging kernel could not be found: {failure}"
    )


@mutator
class Swapped(PyExprMutator):
    """Turns what a function returns round."""

    def visit_tuple_(self, op: Any) -> Any:
        return relax.Tuple(list(reversed(op.fields)))


def test_relaid_weights_that_are_swapped_are_the_transforms_fault(
    tuned: Tuned, tmp_path: Path
) -> None:
    def change(lowered: Any) -> Any:
        changed = tvm.IRModule(dict(lowered.functions_items()))
        var = changed.get_global_var("main_transform_params")
        changed.update_func(var, Swapped(changed).visit_expr(changed[var]))
        return changed

    wrong = tuned.changed(tmp_path, change)
    reference = reference_build(tuned.case, tuned.built)
    assert reference is not None
    told = first_divergence(tuned.case, wrong, reference, against="it", tolerance=DTYPE)
    assert told.kind == "transform"
    assert told.cause == (
        "parameter 0 of what main_transform_params returns belongs elsewhere: "
        "what should be there is parameter 1"
    )
