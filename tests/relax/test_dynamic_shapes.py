"""Dynamic dimensions of ONNX files and of TVM's own modules, and inputs that index."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from pytest_tvmtune.core.errors import GivenError, ModelError, UnsupportedOperatorError
from pytest_tvmtune.core.settings.dimension_sizes import Dims, DynamicInput, sizes_by_name
from pytest_tvmtune.relax import compat
from pytest_tvmtune.relax.importing import open_model
from pytest_tvmtune.relax.importing.onnx.static_shapes import dynamic_inputs_of_file
from tests.relax.small_onnx import (
    FLOAT,
    INT64,
    assert_same,
    floats,
    linear,
    lstm_model,
    model,
    run_in_tvm,
)


def two_inputs() -> Any:
    """Return x + y, whose shapes are (batch, 4, ?) and (batch, 1, len)."""
    node = helper.make_node("Add", ["x", "y"], ["z"])
    inputs = [("x", FLOAT, ["batch", 4, None]), ("y", FLOAT, ["batch", 1, "len"])]
    return model([node], inputs, ["z"])


def test_what_nothing_sets_is_one() -> None:
    opened = open_model(two_inputs(), name="m")
    assert [one.shape for one in opened.inputs] == [(1, 4, 1), (1, 1, 1)]
    assert opened.dynamic == (
        DynamicInput(name="x", declared=("batch", 4, "?"), sizes=(1, 4, 1), unset=(0, 2)),
        DynamicInput(name="y", declared=("batch", 1, "len"), sizes=(1, 1, 1), unset=(0, 2)),
    )
    # The reference has the same shapes.
    assert opened.references["onnxruntime"](*opened.inputs).shape == (1, 4, 1)
    assert open_model(linear(), name="m").dynamic == ()


def test_a_name_is_set_in_each_input() -> None:
    opened = open_model(two_inputs(), name="m", dims=Dims(sizes={"batch": 2, "len": 5, "q": 9}))
    assert [one.shape for one in opened.inputs] == [(2, 4, 1), (2, 1, 5)]
    assert [one.unset for one in opened.dynamic] == [(2,), ()]
    assert sizes_by_name(opened.dynamic) == {"batch": 2, "len": 5}
    (got,) = run_in_tvm(opened)
    np.testing.assert_allclose(got, opened.references["onnxruntime"](*opened.inputs), rtol=1e-6)


def test_a_shape_counts_more_for_its_own_input_and_sets_names_elsewhere() -> None:
    shapes = {"x": (3, 4, 5)}
    opened = open_model(two_inputs(), name="m", shapes=shapes, dims=Dims(sizes={"len": 5}))
    assert [one.shape for one in opened.inputs] == [(3, 4, 5), (3, 1, 5)]
    assert [one.unset for one in opened.dynamic] == [(), ()]
    given = {"x": floats(2, 4, 6), "y": floats(2, 1, 6)}
    opened = assert_same(two_inputs(), given, dims=Dims(sizes={"batch": 7, "len": 7}))
    assert sizes_by_name(opened.dynamic) == {"batch": 2, "len": 6}


def test_a_name_of_the_test_that_the_model_lacks() -> None:
    dims = Dims(sizes={"length": 5}, own=frozenset({"length"}))
    with pytest.raises(GivenError, match=r"dims has 'length', .* are batch, len") as caught:
        open_model(two_inputs(), name="m", dims=dims)
    assert [one.name for one in caught.value.dynamic] == ["x", "y"]
    with pytest.raises(GivenError, match=r"dims has 'length', but no dynamic .* has a name"):
        open_model(linear(), name="m", dims=dims)


@pytest.mark.parametrize(
    ("node", "message"),
    [
        (helper.make_node("Conv", ["x", "w"], ["y"]), r"too small: a tensor .*\(1, 1, -1\)"),
        (helper.make_node("MaxPool", ["x"], ["y"], kernel_shape=[2]), "too small: an output is em"),
        (helper.make_node("Reshape", ["x", "even"], ["y"]), "Reshape"),
    ],
)
def test_where_one_cannot_be_all_dynamic_inputs_are_named(node: Any, message: str) -> None:
    inputs: list[Any] = [("x", FLOAT, ["n", 1, "len"]), ("u", FLOAT, ["n", None])]
    weights = {"w": floats(1, 1, 3), "even": np.array([-1, 2])}
    proto = model([node], inputs, ["y"], weights)
    with pytest.raises(ModelError, match=message) as caught:
        open_model(proto, name="m")
    assert [one.declared for one in caught.value.dynamic] == [("n", 1, "len"), ("n", "?")]
    assert open_model(proto, name="m", dims=Dims(sizes={"len": 4})).inputs[0].shape == (1, 1, 4)


def test_an_unsupported_operator_comes_before_missing_shapes() -> None:
    proto = lstm_model(["steps", 1, 3])
    with pytest.raises(UnsupportedOperatorError, match=r"LSTM \(node 'remember'"):
        open_model(proto, name="m")
    proto.graph.input[0].type.tensor_type.ClearField("shape")
    with pytest.raises(UnsupportedOperatorError, match=r"LSTM \(node 'remember'"):
        open_model(proto, name="m")


def test_a_file_is_looked_at_without_tvm(tmp_path: Path) -> None:
    onnx.save(two_inputs(), tmp_path / "m.onnx")
    found = dynamic_inputs_of_file(tmp_path / "m.onnx")
    assert [str(one) for one in found] == ["'x' (batch, 4, ?)", "'y' (batch, 1, len)"]


def indexing() -> Any:
    """Return a model with an index of each kind, of an axis of one, and some that index nothing."""
    nodes = [
        helper.make_node("Gather", ["w", "i"], ["a"]),
        helper.make_node("Cast", ["j"], ["j64"], to=INT64),
        helper.make_node("GatherElements", ["w", "j64"], ["b"], axis=0),
        helper.make_node("Unsqueeze", ["k", "last"], ["k1"]),
        helper.make_node("GatherND", ["w", "k1"], ["c"]),
        helper.make_node("Mul", ["l", "three"], ["l3"]),
        helper.make_node("Gather", ["table", "l3"], ["d"], axis=1),
        helper.make_node("Cast", ["f"], ["f64"], to=INT64),
        helper.make_node("Gather", ["table", "f64"], ["e"], axis=1),
        helper.make_node("Gather", ["table", "wide"], ["g"], axis=1),
        helper.make_node("Cast", ["mask"], ["h"], to=FLOAT),
        helper.make_node("ScatterElements", ["w", "s", "u"], ["o"], axis=0),
    ]
    inputs = [
        ("i", INT64, [40]), ("j", TensorProto.INT32, [1, 4]), ("k", INT64, [40]),
        ("l", INT64, [40]), ("f", FLOAT, [40]), ("wide", INT64, [40]), ("mask", INT64, [40]),
        ("s", INT64, [1, 4]), ("u", FLOAT, [1, 4]),
    ]  # fmt: skip
    weights = {
        "w": floats(1, 4),
        "table": floats(2, 3),
        "three": np.array(3, "int64"),
        "last": np.array([1], "int64"),
    }
    return model(nodes, inputs, ["a", "b", "c", "d", "e", "g", "h", "o"], weights)


def test_made_up_indices_stay_inside_what_they_index() -> None:
    opened = open_model(indexing(), name="m")
    values = {
        spec.name: value for spec, value in zip(opened.signature.inputs, opened.inputs, strict=True)
    }
    for name in ("i", "j", "k", "l", "s"):
        assert set(values[name].ravel().tolist()) == {0}, name
    for name in ("f", "wide", "mask"):
        assert set(values[name].ravel().tolist()) == {0, 1}, name
    assert values["u"].std() > 0.1
    outputs = run_in_tvm(opened)
    for got, want in zip(outputs, opened.references["onnxruntime"](*opened.inputs), strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-6)


@pytest.mark.each_version
def test_symbolic_modules_of_tvm_have_dimensions_too() -> None:
    from tvm import relax, tirx

    batch, length = tirx.Var("batch", "int64"), tirx.Var("length", "int64")
    x = relax.Var("x", compat.tensor_type()((batch, 4), "float32"))
    y = relax.Var("y", compat.tensor_type()((length, 4), "float32"))
    builder = relax.BlockBuilder()
    with builder.function("main", [x, y]):
        builder.emit_func_output(builder.emit(relax.op.concat([x, y], 0)))
    mod = builder.finalize()
    opened = open_model(mod, name="m", dims=Dims(sizes={"length": 3}))
    assert [one.shape for one in opened.inputs] == [(1, 4), (3, 4)]
    assert [one.unset for one in opened.dynamic] == [(0,), ()]
    (got,) = run_in_tvm(opened)
    np.testing.assert_array_equal(got, np.concatenate(opened.inputs))
    given = {"y": floats(2, 4), "x": floats(5, 4)}
    assert sizes_by_name(open_model(mod, name="m", inputs=given).dynamic) == {
        "batch": 5,
        "length": 2,
    }
    with pytest.raises(GivenError, match=r"dims has 'n', .* are batch, length"):
        open_model(mod, name="m", dims=Dims(sizes={"n": 3}, own=frozenset({"n"})))
