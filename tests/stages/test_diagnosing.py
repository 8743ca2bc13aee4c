"""Wrong numbers followed to where they begin: in builds with real records and relaid weights."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tvm
from tvm import relax
from tvm.relax.expr_functor import PyExprMutator, mutator

from pytest_tvmtune.core.comparing.divergence import Divergence
from pytest_tvmtune.core.comparing.outputs_comparison import compare
from pytest_tvmtune.core.comparing.tolerances import ComparisonOptions, Tolerance
from pytest_tvmtune.core.errors import ModelError, StoreError
from pytest_tvmtune.core.results.comparison_result import ErrorResult
from pytest_tvmtune.core.results.failure import Failure
from pytest_tvmtune.relax.compiling.entry_points import entry_points
from pytest_tvmtune.relax.compiling.kernel_descriptions import (
    compile_module,
    describe,
    write_kernels,
)
from pytest_tvmtune.stages.case import Case
from pytest_tvmtune.stages.comparing.comparing_outputs import compare_with_expected
from pytest_tvmtune.stages.compiling import BuiltModel
from pytest_tvmtune.stages.explaining import divergence_search
from pytest_tvmtune.stages.explaining.divergence_search import diagnose, first_divergence
from pytest_tvmtune.stages.outcomes import ComparedWith
from pytest_tvmtune.stages.pipeline import check_outputs, make_checks
from pytest_tvmtune.stages.tuned_build import counterpart_build, load_and_call, reference_build
from pytest_tvmtune.stages.tuning_tasks import best_records, stored_workloads
from pytest_tvmtune.store import artifacts
from pytest_tvmtune.store.layout import Store, open_store
from pytest_tvmtune.store.tuning.work_dirs import write_work_dir
from tests.support.cases import build_of, build_with_records, opener, run_of
from tests.support.modules import Halves, OpenCase, TwoLayers

DTYPE = Tolerance()
RNG = np.random.default_rng(2)
X, V, W = (
    RNG.standard_normal(shape).astype("float32") / 6 for shape in ((4, 48), (48, 48), (48, 48))
)


@dataclass(frozen=True, kw_only=True, eq=False)
class Tuned:
    """The prepacked case, its build, and the store."""

    case: Case
    built: BuiltModel
    store: Store

    def changed(self, folder: Path, change: Callable[[Any], Any]) -> BuiltModel:
        """Return the build with its lowered module changed."""
        work_dir = folder / "work_dir"
        tasks = self.built.plan.tasks
        records = best_records(self.case, stored_workloads(self.case, self.built.plan))
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
            entries=entry_points(lowered, compiled, planned),
            kernels=describe(compiled, names),
        )
        artifact = artifacts.publish(self.store, folder / artifacts.LIBRARY, manifest)
        return replace(self.built, artifact=artifact)


@pytest.fixture(scope="module")
def tuned(tmp_path_factory: pytest.TempPathFactory) -> Tuned:
    store = open_store(tmp_path_factory.mktemp("tuned") / "store")
    case = opener(store)(TwoLayers, prepack=True, params=[V, W], inputs=[X], settings={"trials": 4})
    return Tuned(case=case, built=build_with_records(case), store=store)


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
    found = diagnose(tuned.case, wrong, error, "given values", tolerance=DTYPE, number=1)
    finding, told = found.sentence, found.divergence
    assert told is not None
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
    assert (done.returncode, b"the kernels differ" in done.stdout) == (1, True), done.stderr


@pytest.mark.parametrize("failure", [ModelError("odd type"), StoreError("disk full")])
def test_a_search_that_fails_leaves_the_finding(
    tuned: Tuned, monkeypatch: pytest.MonkeyPatch, failure: Exception
) -> None:
    def fail(*_: Any, **__: Any) -> Any:
        raise failure

    monkeypatch.setattr(divergence_search, "run_device_job", fail)
    run = run_of(tuned.case)
    run.built, run.outputs = tuned.built, np.zeros((4, 48), "float32")
    comparison = ComparisonOptions()
    check = partial(check_outputs, expected=np.ones((4, 48), "float32"), comparison=comparison)
    (finding,) = make_checks(run, check)
    heading, *_, last = finding.splitlines()
    assert heading.startswith(f"{tuned.case.label}: wrong numbers against expected: ")
    assert last == f"  the first diverging kernel could not be found: {failure}"
    assert run.result.findings == [finding]
    assert run.result.failure == Failure(kind="wrong numbers")
    assert (len(run.result.errors), run.result.divergences) == (1, [])


@mutator
class Swapped(PyExprMutator):
    """Turns what a function returns round."""

    def visit_tuple_(self, op: Any) -> Any:
        return relax.Tuple(list(reversed(op.fields)))


@pytest.mark.each_version
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
        "parameter 0 from main_transform_params is at the wrong position: parameter 1 belongs there"
    )


def test_float16_that_adds_up_may_be_rounding_and_a_missing_nan_is_not(
    open_: OpenCase,
) -> None:
    """TVM sums up in float16, numpy in more."""
    x, w = (RNG.standard_normal(shape).astype("float16") for shape in ((4, 512), (512, 64)))
    case = open_(Halves, params=[w], inputs=[x])
    built = build_of(case)
    _, outputs = load_and_call(case, built)
    exact = x.astype("float64") @ w.astype("float64")

    def said(expected: Any) -> str:
        found = compare_with_expected(case, built, outputs, expected, ComparisonOptions())
        assert found.error is not None
        assert not found.error.passed
        return diagnose(
            case, built, found.error, found.compared_with, tolerance=DTYPE, number=1
        ).sentence

    assert "this is the untuned, unpacked build itself. No error exceeds " in said(exact)
    assert "so accumulated float16 rounding can explain the errors" in said(exact)
    with_nan = exact.copy()
    with_nan[0, 0] = np.nan
    itself = "this is the untuned, unpacked build itself, so the fault is in the model"
    assert said(with_nan).startswith(itself)
    assert said(-exact).startswith(itself)
    assert said(exact[:2]).startswith("all builds of this model return the same shapes")


def test_nan_against_another_build_is_never_said_to_add_up(
    tuned: Tuned, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        divergence_search,
        "run_device_job",
        lambda _job, request, _context: Divergence(
            kind="none", calls=2, compared=2, against=request.against
        ),
    )

    def said(want: Any, compared_with: ComparedWith) -> str:
        error = compare(X, want, against="it")
        found = diagnose(tuned.case, tuned.built, error, compared_with, tolerance=DTYPE, number=1)
        return found.sentence

    with_nan = X.copy()
    with_nan[0, 0] = np.nan
    builds: tuple[ComparedWith, ...] = ("counterpart", "untuned build")
    for against in builds:
        assert said(X + 1, against).endswith("within the tolerance; small differences add up")
        assert said(with_nan, against).endswith(
            "; rounding can't explain NaN, Inf, or a shape that differs"
        )
    older = "; the fault exists without tuning and prepacking, too"
    assert said(X + 1, "given values").endswith(older)
    assert said(with_nan, "given values").endswith(older)
