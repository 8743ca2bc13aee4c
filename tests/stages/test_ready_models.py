"""What is past the stock pipeline: own passes, executables, libraries. Every check, no tuning."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tvm
from tvm import relax

from pytest_tvmtune.core.errors import CompileError, ModelError
from pytest_tvmtune.plugin.run import Run
from pytest_tvmtune.relax.importing import open_model
from pytest_tvmtune.stages.compiling import load
from pytest_tvmtune.stages.latency.latency_gate import judge_latency
from pytest_tvmtune.stages.tuned_build import load_and_call
from tests.support.cases import (
    accept,
    build_of,
    built_run,
    counterpart_outputs,
    reference_outputs,
    run_of,
)
from tests.support.modules import OpenCase, Square

RNG = np.random.default_rng(2)
X = RNG.standard_normal((2, 8)).astype("float32")
W = RNG.standard_normal((8, 8)).astype("float32")
DATA = {"inputs": [X], "params": [W]}


def doubled(mod: Any) -> Any:
    """A pipeline with an effect that shows: it computes twice the output."""

    @relax.expr_functor.mutator
    class Double(relax.PyExprMutator):
        def visit_call_(self, call: Any) -> Any:
            new = super().visit_call_(call)
            is_matmul = isinstance(call.op, tvm.ir.Op) and call.op.name == "relax.matmul"
            return relax.op.add(new, new) if is_matmul else new

    mod["main"] = Double().visit_expr(mod["main"])
    return mod


def executable(work_dir: Path, **options: Any) -> Any:
    target = tvm.target.Target("llvm")
    pipeline = relax.pipeline.static_shape_tuning_pipeline(
        total_trials=0, target=target, work_dir=str(work_dir), **options
    )
    return tvm.compile(pipeline(Square), "llvm")


@pytest.mark.each_version
def test_own_passes_are_run_compiled_and_compared_with_the_model_before(open_: OpenCase) -> None:
    case = open_(Square, pipeline=doubled, settings={"trials": 8}, **DATA)
    run = built_run(case)
    built = run.built
    np.testing.assert_allclose(load_and_call(case, built)[1], 2 * X @ W.T, rtol=1e-5)
    np.testing.assert_allclose(reference_outputs(case, built), X @ W.T, rtol=1e-5)
    # Nothing is tuned, and the module that was given is left as it was.
    assert (run.result.tasks, run.result.tuned_now, run.result.tuning_trials) == ([], False, 0)
    assert "add" not in str(Square)
    latency = judge_latency(case, built, load(case, built), accept(case, built)).latency
    assert latency.same_code
    again = built_run(open_(Square, pipeline=doubled, **DATA))
    assert again.built.key == built.key
    assert not again.result.compiled_now
    passes = tvm.transform.Sequential([relax.transform.LegalizeOps(), relax.transform.FuseOps()])
    assert build_of(open_(Square, pipeline=passes, **DATA)).key != built.key
    with pytest.raises(ModelError, match="prepack belongs to the stock pipeline"):
        counterpart_outputs(case)


def test_the_module_of_a_run_is_the_one_that_was_given(open_: OpenCase, tmp_path: Path) -> None:
    own = Run(run_of(open_(Square, pipeline=doubled, **DATA)))
    tvm.ir.assert_structural_equal(own.mod, Square)
    assert Run(run_of(open_(executable(tmp_path), **DATA))).mod is None


def test_kernels_are_those_that_are_compiled_whoever_lowers_them(open_: OpenCase) -> None:
    stock = build_of(open_(Square, **DATA)).artifact.manifest.kernels
    own = build_of(open_(Square, pipeline=lambda mod: mod, **DATA)).artifact.manifest.kernels
    assert {name: (kernel.outputs, kernel.calls) for name, kernel in own.items()} == {
        name: (kernel.outputs, kernel.calls) for name, kernel in stock.items()
    }
    assert sorted(own) == ["matmul", "transpose"]


def fails(mod: Any) -> Any:
    raise ValueError("no such pass")


@pytest.mark.parametrize(
    ("pipeline", "message"),
    [
        ("zero", r"pipeline is a str; give a tvm\.transform\.Pass, or a function"),
        (fails, "the pipeline failed: ValueError: no such pass"),
        (lambda mod: None, "the pipeline returned a NoneType, not an IRModule"),
        (
            lambda mod: tvm.IRModule({}),
            "the pipeline removed the entry 'main'; the module has none",
        ),
    ],
)
def test_pipelines_that_do_not_work(open_: OpenCase, pipeline: Any, message: str) -> None:
    with pytest.raises(ModelError, match=message):
        open_(Square, pipeline=pipeline, **DATA)


def test_executables_and_libraries_are_checked_and_gated(open_: OpenCase, tmp_path: Path) -> None:
    stock = build_of(open_(Square, **DATA))
    compiled, path = executable(tmp_path), tmp_path / "mine.so"
    compiled.export_library(str(path))
    case = open_(path, settings={"trials": 8}, **DATA)
    run = built_run(case)
    built = run.built
    session, outputs = load_and_call(case, built)
    np.testing.assert_allclose(outputs, X @ W.T, rtol=1e-5)
    assert (run.result.tasks, run.result.tuned_now) == ([], False)
    assert reference_outputs(case, built) is None
    # The store had built the very same library, and knows what it takes.
    assert built.artifact.sha256 == stock.artifact.sha256
    assert built.artifact.manifest == stock.artifact.manifest
    baseline = accept(case, built)
    same = open_(compiled, **DATA)
    latency = judge_latency(same, build_of(same), session, baseline).latency
    assert latency.same_code
    prepacked = open_(
        executable(tmp_path, cpu_weight_prepack=True), settings={"max_time": 0.5}, **DATA
    )
    other = build_of(prepacked)
    session, outputs = load_and_call(prepacked, other)
    np.testing.assert_allclose(outputs, X @ W.T, rtol=1e-5)
    assert session.transform_s is not None
    latency = judge_latency(prepacked, other, session, baseline).latency
    assert latency.epochs
    with pytest.raises(ModelError, match=r"pipeline=\.\.\. is only for models that"):
        open_(path, pipeline=doubled, **DATA)


def test_libraries_that_can_not_be_used(open_: OpenCase, tmp_path: Path) -> None:
    compiled = executable(tmp_path)
    with pytest.raises(ModelError, match=r"doesn't describe its inputs; give inputs=\(x,\)"):
        open_model(compiled, name="m")
    with pytest.raises(ModelError, match=r"gone\.so: no such file"):
        open_model(tmp_path / "gone.so", name="m", inputs=[X])
    text = tmp_path / "text.so"
    text.write_text("once upon a time")
    with pytest.raises(CompileError, match="it isn't a library of the Relax VM"):
        build_of(open_(text, **DATA))
    with pytest.raises(
        CompileError, match="the library has no entry 'encode'; name its entry with entry="
    ):
        build_of(open_(compiled, entry="encode", **DATA))
