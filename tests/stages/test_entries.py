"""The prepack contract and every shape of entry function, compiled and run for real."""

from __future__ import annotations

import numpy as np
import pytest
from tvm.relax.transform import BindParams

from pytest_tvmtune.core.comparing.outputs_comparison import compare
from pytest_tvmtune.core.errors import CompileError
from pytest_tvmtune.relax.measuring import session as session_module
from pytest_tvmtune.stages.compiling import load
from tests.support.cases import build_of, built_run, counterpart_outputs, reference_outputs
from tests.support.modules import (
    Nested,
    NoNumInput,
    NoTasks,
    NotMain,
    OpenCase,
    Square,
    TwoEntries,
    Types,
)

RNG = np.random.default_rng(7)


def floats(*shape: int) -> np.ndarray:
    return RNG.standard_normal(shape).astype("float32")


BOTH = pytest.mark.parametrize("prepack", [False, True], ids=["plain", "prepack"])


@BOTH
def test_entry_that_is_not_main(open_: OpenCase, prepack: bool) -> None:
    x, w, b = floats(2, 4), floats(6, 4), floats(6)
    case = open_(NotMain, prepack=prepack, params=[w, b], inputs={"x": x})
    run = built_run(case)
    loaded = load(case, run.built)
    np.testing.assert_allclose(loaded.outputs(), x @ w.T + b, rtol=1e-5, atol=1e-6)
    assert run.result.entry == "encode"
    assert (loaded.transform_s is not None) == prepack
    assert (loaded.transform_extra_bytes == w.nbytes) if prepack else True


@BOTH
@pytest.mark.parametrize("entry", ["encode", "decode"])
def test_two_entries(open_: OpenCase, prepack: bool, entry: str) -> None:
    shapes = {"encode": ((2, 4), (6, 4)), "decode": ((2, 6), (4, 6))}[entry]
    x, w = floats(*shapes[0]), floats(*shapes[1])
    case = open_(TwoEntries, prepack=prepack, entry=entry, params=[w], inputs=[x])
    assert compare(load(case, build_of(case)).outputs(), x @ w.T, against="numpy").passed


def test_bound_parameters_leave_nothing_to_pass(open_: OpenCase) -> None:
    x, w = floats(2, 8), floats(8, 8)
    bound = BindParams("main", {"w": w})(Square)
    case = open_(bound, prepack=True, inputs=[x])
    assert case.model.params == ()
    loaded = load(case, build_of(case))
    assert compare(loaded.outputs(), x @ w.T, against="numpy").passed


@BOTH
def test_without_num_input_the_number_of_params_tells(open_: OpenCase, prepack: bool) -> None:
    x, w = floats(2, 4), floats(4, 6)
    case = open_(NoNumInput, prepack=prepack, params=[w], inputs=[x])
    built = build_of(case)
    assert not built.artifact.manifest.entries["main"].transforms
    loaded = load(case, built)
    assert loaded.transform_s is None
    assert compare(loaded.outputs(), x @ w, against="numpy").passed


def test_square_weight_transform_left_out_is_caught(
    open_: OpenCase, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Shapes agree without the transform, so only the numbers can tell."""
    x, w = floats(2, 8), floats(8, 8)
    case = open_(Square, prepack=True, params=[w], inputs=[x])
    built = build_of(case)
    plain = counterpart_outputs(case)
    assert compare(load(case, built).outputs(), plain, against="not prepacked").passed
    monkeypatch.setattr(session_module, "transform_params", lambda _vm, _entry, params: params)
    left_out = compare(load(case, built).outputs(), plain, against="not prepacked")
    assert not left_out.passed
    assert left_out.max_abs_error > 0.1


def test_transform_left_out_is_refused_where_shapes_differ(
    open_: OpenCase, monkeypatch: pytest.MonkeyPatch
) -> None:
    case = open_(NotMain, prepack=True, params=[floats(6, 4), floats(6)], inputs=[floats(2, 4)])
    built = build_of(case)
    monkeypatch.setattr(session_module, "transform_params", lambda _vm, _entry, params: params)
    with pytest.raises(CompileError, match="encode_transform_params returns 2 parameter"):
        load(case, built)


@BOTH
def test_nested_outputs_keep_their_structure(open_: OpenCase, prepack: bool) -> None:
    x = floats(2, 4)
    case = open_(Nested, prepack=prepack, inputs=[x])
    got = load(case, build_of(case)).outputs()
    assert [len(got), len(got[1])] == [2, 2]
    expected = (np.maximum(x, 0), (np.exp(x), x.T))
    assert compare(got, expected, against="numpy").passed


@BOTH
def test_integer_bool_double_and_rank_0(open_: OpenCase, prepack: bool) -> None:
    i, m = np.array([1, -2, 3], "int32"), np.array([True, False, True])
    d, s = np.array([0.5, 1e-9, 3.0]), np.array(21, "int64")
    case = open_(Types, prepack=prepack, inputs={"i": i, "m": m, "d": d, "s": s})
    got = load(case, build_of(case)).outputs()
    assert [a.dtype.name for a in got] == ["int32", "bool", "float64", "int64"]
    assert got[3].shape == ()
    assert compare(got, (i + i, ~m, d * d, s + s), against="numpy").passed


@BOTH
def test_nothing_to_tune_is_no_error(open_: OpenCase, prepack: bool) -> None:
    x = floats(2, 4)
    case = open_(NoTasks, prepack=prepack, inputs=[x], settings={"trials": 8})
    run = built_run(case)
    assert run.result.tasks == []
    assert not run.result.tuned_now
    assert np.array_equal(load(case, run.built).outputs(), x)


def test_a_warm_run_compiles_nothing(open_: OpenCase) -> None:
    first, again = (built_run(open_(Square, prepack=True)) for _ in range(2))
    assert again.built.artifact.sha256 == first.built.artifact.sha256
    assert (first.result.compiled_now, again.result.compiled_now) == (True, False)


def test_a_damaged_artifact_is_compiled_again(open_: OpenCase) -> None:
    first = open_(Square)
    library = build_of(first).artifact.library
    content = bytearray(library.read_bytes())
    content[len(content) // 2] ^= 1
    library.write_bytes(content)
    again = built_run(open_(Square))
    assert again.result.compiled_now
    assert load(again.case, again.built).outputs().shape == (2, 8)


def test_made_up_parameters_depend_on_the_seed_alone(open_: OpenCase) -> None:
    one, same, other = (open_(Square, settings={"seed": seed}).model for seed in (3, 3, 4))
    assert np.array_equal(one.params[0], same.params[0])
    assert not np.array_equal(one.params[0], other.params[0])
    assert np.array_equal(one.inputs[0], same.inputs[0])


def test_the_reference_is_untuned_and_unpacked(open_: OpenCase) -> None:
    x, w = floats(2, 8), floats(8, 8)
    case = open_(Square, prepack=True, params=[w], inputs=[x])
    built = build_of(case)
    assert compare(reference_outputs(case, built), x @ w.T, against="numpy").passed


def test_num_cores_changes_no_code_and_no_cache_key(open_: OpenCase) -> None:
    first = build_of(open_(Square, target="llvm -num-cores 2"))
    other = built_run(open_(Square, target="llvm -num-cores 3"))
    assert other.built.artifact.sha256 == first.artifact.sha256
    assert not other.result.compiled_now
    assert other.case.num_threads == 3
