"""Models from ONNX, on small models made here, against onnxruntime."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from pytest_tvmtune.core.errors import (
    GivenError,
    ImporterError,
    ModelError,
    UnsupportedOperatorError,
)
from pytest_tvmtune.relax.importing import open_model
from tests.relax.small_onnx import (
    FLOAT,
    INT64,
    assert_same,
    floats,
    linear,
    model,
    run_in_onnxruntime,
    run_in_tvm,
)


@pytest.mark.parametrize("weights_as_inputs", [False, True])
def test_weights_become_parameters(weights_as_inputs: bool) -> None:
    opened = assert_same(linear(weights_as_inputs=weights_as_inputs), {"x": floats(2, 4)})
    assert [spec.name for spec in opened.signature.inputs] == ["x"]
    assert len(opened.params) == 2
    assert opened.signature.lifts_params


def test_a_file_and_a_string_path_are_the_same(tmp_path: Path) -> None:
    path = tmp_path / "linear.onnx"
    onnx.save(linear(), str(path))
    for source in (path, str(path)):
        assert open_model(source, name="m").inputs[0].shape == (2, 4)


def test_dynamic_dimensions_get_the_given_shapes() -> None:
    proto = linear(batch="n")
    assert_same(proto, {"x": floats(5, 4)}, shapes={"x": (5, 4)})
    # The caller's own object is left as it was.
    assert proto.graph.input[0].type.tensor_type.shape.dim[0].dim_param == "n"


def test_dynamic_dimensions_are_those_of_the_inputs(tmp_path: Path) -> None:
    proto = linear(batch="n")
    assert_same(proto, {"x": floats(5, 4)})
    np.save(tmp_path / "x.npy", floats(3, 4))
    for inputs in ([floats(3, 4)], {"x": [[0, 0, 0, 0]] * 3}, {"x": tmp_path / "x.npy"}):
        opened = open_model(proto, name="m", inputs=inputs)
        assert opened.inputs[0].shape == (3, 4)
        assert opened.references["onnxruntime"](*opened.inputs).shape == (3, 3)
    # What is said goes before; what doesn't fit is told as the input's fault.
    with pytest.raises(
        ModelError, match=r"input 'x' has shape \(3, 4\), but the model takes \(5, 4\)"
    ):
        open_model(proto, name="m", inputs=[floats(3, 4)], shapes={"x": (5, 4)})
    for shape in [(3, 5), (4,)]:
        with pytest.raises(
            GivenError, match=r"input 'x' has shape .* but the model takes \(n, 4\)"
        ):
            open_model(proto, name="m", inputs=[floats(*shape)])
    with pytest.raises(ImporterError, match=r"input 'x' has shape \(0, 4\), .* isn't empty"):
        open_model(proto, name="m", inputs=[floats(0, 4)])
    wrong: tuple[Any, ...] = ([], {"z": floats(3, 4)})
    for inputs in wrong:
        with pytest.raises(GivenError, match=r"(too few inputs|unknown input).*x: float32\[1, 4\]"):
            open_model(proto, name="m", inputs=inputs)


@pytest.mark.parametrize(
    ("shapes", "message"),
    [
        ({"z": (1, 4)}, "shapes has 'z', but the model's inputs are x"),
        ({"x": (1, 4, 1)}, r"shapes\['x'\] has 3 dimensions, but the model's input has 2"),
        ({"x": (1, 5)}, r"shapes\['x'\] has size 5 in dimension 1, but the model's input has 4"),
        ({"x": 5}, r"shapes\['x'\] is 5; give a tuple of positive whole numbers"),
        ({"x": "14"}, r"shapes\['x'\] is '14'; give a tuple"),
        ({"x": ("n", 4)}, r"shapes\['x'\] is \('n', 4\); give a tuple"),
        ({"x": (1.5, 4)}, r"shapes\['x'\] is \(1.5, 4\); give a tuple"),
        ({"x": (0, 4)}, r"shapes\['x'\] is \(0, 4\); give a tuple"),
        ({"x": (2**70, 4)}, r"shapes\['x'\] is .* give a tuple"),
        ([(1, 4)], r"shapes is a list; give a dict by input name: shapes=\{'x': "),
    ],
)
def test_shapes_that_do_not_fit(shapes: Any, message: str) -> None:
    with pytest.raises(ModelError, match=message):
        open_model(linear(batch="n"), name="m", shapes=shapes)


def test_a_scalar_input_keeps_its_rank() -> None:
    node = helper.make_node("Mul", ["x", "s"], ["y"])
    proto = model([node], [("x", FLOAT, [2, 3]), ("s", FLOAT, [])], ["y"])
    with pytest.raises(
        ModelError, match=r"shapes\['s'\] has 1 dimension, but the model's input has 0"
    ):
        open_model(proto, name="m", shapes={"s": (3,)})


@pytest.mark.parametrize("shape", [(2, 3), ()])
def test_an_input_without_a_rank_gets_the_given_one(shape: tuple[int, ...]) -> None:
    proto = model([helper.make_node("Relu", ["x"], ["y"])], [("x", FLOAT, None)], ["y"])
    with pytest.raises(ModelError, match="input 'x' has no rank; give its static shape") as caught:
        open_model(proto, name="m")
    assert [one.declared for one in caught.value.dynamic] == [None]
    assert_same(proto, {"x": floats(*shape)}, shapes={"x": shape})


def test_an_input_that_is_no_tensor_is_refused() -> None:
    proto = model([helper.make_node("SequenceAt", ["s", "i"], ["y"])], [("i", INT64, [])], ["y"])
    proto.graph.input.append(helper.make_tensor_sequence_value_info("s", FLOAT, [2]))
    with pytest.raises(ModelError, match="input 's' is a sequence_type, but only tensors"):
        open_model(proto, name="m")


def test_float64_and_bool_keep_their_dtype() -> None:
    proto = model(
        [
            helper.make_node("Where", ["c", "x", "zero"], ["d"]),
            helper.make_node("Cast", ["d"], ["y"], to=FLOAT),
        ],
        [("c", TensorProto.BOOL, [3]), ("x", TensorProto.DOUBLE, [3])],
        ["y"],
        {"zero": np.zeros(3)},
    )
    opened = assert_same(proto, {"c": np.array([True, False, True]), "x": np.arange(3.0)})
    assert [spec.dtype for spec in opened.signature.inputs] == ["bool", "float64"]


def test_names_that_the_importer_changes_stay_the_users() -> None:
    proto = model(
        [helper.make_node("Sub", ["0:a.b", "c/d"], ["y"])],
        [("0:a.b", FLOAT, [3]), ("c/d", FLOAT, [3])],
        ["y"],
    )
    opened = assert_same(proto, {"c/d": floats(3), "0:a.b": floats(3)})
    assert [spec.name for spec in opened.signature.inputs] == ["0:a.b", "c/d"]


@pytest.mark.each_version
def test_several_outputs_and_a_scalar_input() -> None:
    proto = model(
        [
            helper.make_node("Cast", ["s"], ["f"], to=FLOAT),
            helper.make_node("Mul", ["x", "f"], ["y"]),
            helper.make_node("Relu", ["x"], ["z"]),
        ],
        [("x", FLOAT, [2, 3]), ("s", INT64, [])],
        ["y", "z"],
    )
    assert_same(proto, {"x": floats(2, 3), "s": np.array(3, "int64")})


def reshape_to_a_computed_shape() -> Any:
    nodes = [
        helper.make_node("Shape", ["x"], ["shape"]),
        helper.make_node("Gather", ["shape", "zero"], ["n"]),
        helper.make_node("Unsqueeze", ["n", "axis"], ["n1"]),
        helper.make_node("Cast", ["rest"], ["r1"], to=INT64),
        helper.make_node("Concat", ["n1", "r1"], ["target"], axis=0),
        helper.make_node("Reshape", ["x", "target"], ["y"]),
    ]
    weights = {
        "zero": np.array(0, "int64"),
        "axis": np.array([0], "int64"),
        "rest": np.array([-1], "float32"),
    }
    return model(nodes, [("x", FLOAT, [2, 3, 4])], ["y"], weights)


@pytest.mark.each_version
def test_a_constant_subgraph_is_folded() -> None:
    """The importer refuses a Reshape whose shape is computed by the graph."""
    assert_same(reshape_to_a_computed_shape(), {"x": floats(2, 3, 4)})


def test_weights_that_are_folded_are_no_inputs() -> None:
    """Before version 4 of the format, each weight is listed as an input."""
    proto = reshape_to_a_computed_shape()
    proto.ir_version = 3
    del proto.graph.output[:]
    proto.graph.output.append(helper.make_tensor_value_info("z", FLOAT, None))
    names = ("a", "b")
    for name in names:
        size = numpy_helper.from_array(np.array([1], "int64"), f"size of {name}")
        proto.graph.initializer.append(size)
    filled = (helper.make_node("ConstantOfShape", [f"size of {name}"], [name]) for name in names)
    sums = (
        helper.make_node("Add", one, [two]) for one, two in ((["y", "a"], "s"), (["s", "b"], "z"))
    )
    proto.graph.node.extend((*filled, *sums))
    for weight in proto.graph.initializer:
        value = helper.make_tensor_value_info(weight.name, weight.data_type, weight.dims)
        proto.graph.input.append(value)
    opened = assert_same(proto, {"x": floats(2, 3, 4)})
    assert [spec.name for spec in opened.signature.inputs] == ["x"]


def test_without_onnxruntime_a_plain_model_opens_and_others_say_what_is_missing(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    assert open_model(linear(), name="m").inputs[0].shape == (2, 4)
    with pytest.raises(ModelError, match="TVM's ONNX importer failed") as caught:
        open_model(reshape_to_a_computed_shape(), name="m")
    assert "needs onnxruntime: pip install 'pytest-tvmtune[onnx]'" in str(caught.value)
    # The importer prints what it fails on, and its builder's end is told by native code.
    assert capfd.readouterr() == ("", "")


def test_without_onnx_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    proto = linear()
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(ModelError, match=r"needs onnx: pip install 'pytest-tvmtune\[onnx\]'"):
        open_model(proto, name="m")


def test_a_model_that_contradicts_itself_is_refused() -> None:
    node = helper.make_node("MatMul", ["x", "w"], ["y"])
    proto = model([node], [("x", FLOAT, [2, 5])], ["y"], {"w": floats(4, 3)})
    with pytest.raises(ModelError, match=r"onnxruntime can't load the model: .*Incompatible dim"):
        open_model(proto, name="m")


def lstm(name: str) -> Any:
    return helper.make_node("LSTM", ["x", "w", "r"], [name], name=name, hidden_size=2)


def lstm_weights() -> dict[str, np.ndarray]:
    return {"w": floats(1, 8, 3), "r": floats(1, 8, 2)}


def test_an_unsupported_operator_is_named_with_its_node() -> None:
    nodes = [lstm("remember"), helper.make_node("Relu", ["remember"], ["z"])]
    proto = model(nodes, [("x", FLOAT, [4, 1, 3])], ["z"], lstm_weights())
    with pytest.raises(ModelError, match=r"unsupported operator LSTM \(node 'remember', 1 in all"):
        open_model(proto, name="m")


def test_every_unsupported_operator_is_named_and_counted() -> None:
    nodes = [
        helper.make_node("GRU", ["x", "w", "r"], ["g"], name="gate", hidden_size=2),
        lstm("first"),
        lstm("second"),
        helper.make_node("Relu", ["x"], ["z"], name="fine", domain="com.example"),
    ]
    proto = model(nodes, [("x", FLOAT, [4, 1, 3])], ["g", "first", "second"], lstm_weights())
    proto.opset_import.append(helper.make_opsetid("com.example", 1))
    with pytest.raises(UnsupportedOperatorError) as caught:
        open_model(proto, name="m")
    assert caught.value.operators == {"GRU": 1, "LSTM": 2, "com.example.Relu": 1}
    assert "GRU (node 'gate', 1 in all), LSTM (node 'first', 2 in all)" in str(caught.value)


@pytest.mark.each_version
def test_a_function_that_an_older_importer_lacks_is_expanded() -> None:
    nodes = [
        helper.make_node("CastLike", ["s", "x"], ["f"]),
        helper.make_node("Mul", ["x", "f"], ["y"]),
    ]
    proto = model(nodes, [("x", FLOAT, [2, 3]), ("s", INT64, [1])], ["y"])
    assert_same(proto, {"x": floats(2, 3), "s": np.array([3], "int64")})


def test_an_unsupported_operator_in_a_branch_is_named(capfd: pytest.CaptureFixture[str]) -> None:
    branches = {
        name: helper.make_graph(
            [lstm(name)], name, [], [helper.make_tensor_value_info(name, FLOAT, None)]
        )
        for name in ("then_branch", "else_branch")
    }
    inputs = [("x", FLOAT, [4, 1, 3]), ("c", TensorProto.BOOL, [])]
    node = helper.make_node("If", ["c"], ["y"], **branches)
    with pytest.raises(ModelError, match=r"unsupported operator LSTM \(node '\w+', 2 in all\)"):
        open_model(model([node], inputs, ["y"], lstm_weights()), name="m")
    assert capfd.readouterr() == ("", "")


def test_files_that_are_no_models(tmp_path: Path) -> None:
    whole = linear().SerializeToString()
    contents = {
        "empty.onnx": (b"", "the file is empty"),
        "truncated.onnx": (whole[: len(whole) // 2], "truncated"),
        "text.onnx": (b"once upon a time", "ONNX model"),
    }
    for name, (content, message) in contents.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(ModelError, match=message) as caught:
            open_model(tmp_path / name, name="m")
        assert name in str(caught.value)
    with pytest.raises(ModelError, match=r"gone\.onnx: no such file"):
        open_model(tmp_path / "gone.onnx", name="m")
    with pytest.raises(ModelError, match="not a file"):
        open_model(tmp_path, name="m")
    with pytest.raises(ModelError, match="not an ONNX model: its graph is empty"):
        open_model(onnx.ModelProto(), name="m")


def test_what_belongs_to_another_door_is_refused() -> None:
    with pytest.raises(ModelError, match="ONNX models contain their parameters"):
        open_model(linear(), name="m", params=[floats(4, 3)])
    with pytest.raises(ModelError, match=r"spec=\.\.\. is only for a relax"):
        open_model(linear(), name="m", spec={})
    with pytest.raises(ModelError, match="can't open an object of type dict as a model"):
        open_model({}, name="m")
    with pytest.raises(ModelError, match="StableHLO can't be imported"):
        open_model("model.mlir", name="m")


def test_onnxruntime_is_a_reference(monkeypatch: pytest.MonkeyPatch) -> None:
    proto = linear(batch="n", weights_as_inputs=True)
    opened = open_model(proto, name="m", shapes={"x": (2, 4)})
    assert opened.output_names == ("y",)
    reference = opened.references["onnxruntime"]
    (want,) = run_in_onnxruntime(proto, {"x": opened.inputs[0]})
    np.testing.assert_allclose(reference(*opened.inputs), want, rtol=1e-6)
    with pytest.raises(
        ModelError, match=r"onnxruntime failed to run it: .*invalid dimensions for input: x"
    ):
        reference(floats(2, 5))
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(ModelError, match=r"this needs onnxruntime: pip install"):
        reference(*opened.inputs)


def test_several_outputs_of_the_reference_are_a_tuple() -> None:
    nodes = [helper.make_node("Neg", ["x"], ["a"]), helper.make_node("Exp", ["x"], ["b/c"])]
    opened = open_model(model(nodes, [("x", FLOAT, [])], ["a", "b/c"]), name="m")
    got = opened.references["onnxruntime"](*opened.inputs)
    assert (type(got), [one.shape for one in got]) == (tuple, [(), ()])
    assert opened.output_names == ("a", "b/c")
    (x,) = opened.inputs
    np.testing.assert_allclose(got, (-x, np.exp(x)), rtol=1e-6)


def test_optional_inputs_that_are_left_out() -> None:
    node = helper.make_node("Clip", ["x", "", "most"], ["y"])
    assert_same(
        model([node], [("x", FLOAT, [4])], ["y"], {"most": np.float32(0.5)}), {"x": floats(4)}
    )


def test_outputs_that_nothing_computes() -> None:
    node = helper.make_node("Relu", ["x"], ["y"])
    proto = model([node], [("x", FLOAT, [3])], ["y", "x", "w"], {"w": floats(2)})
    assert_same(proto, {"x": floats(3)})


def test_a_model_that_tvm_takes_is_not_folded() -> None:
    """Then its constant subgraph is what the user's own import has too."""
    nodes = [
        helper.make_node("Mul", ["w", "w"], ["w2"]),
        helper.make_node("Add", ["x", "w2"], ["y"]),
    ]
    proto = model(nodes, [("x", FLOAT, [3])], ["y"], {"w": floats(3)})
    opened = assert_same(proto, {"x": floats(3)})
    assert "multiply" in opened.mod.script()


def test_inputs_and_weights_that_are_no_numbers() -> None:
    node = helper.make_node("Identity", ["x"], ["y"])
    with pytest.raises(ModelError, match="input 'x' holds strings"):
        open_model(model([node], [("x", TensorProto.STRING, [3])], ["y"]), name="m")
    proto = linear()
    proto.graph.sparse_initializer.add()
    with pytest.raises(ModelError, match="it has sparse weights"):
        open_model(proto, name="m")


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "int8", "uint8", "bool"])
def test_small_types(dtype: str) -> None:
    element = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
    operator = "Xor" if dtype == "bool" else "Add"
    proto = model(
        [helper.make_node(operator, ["x", "w"], ["y"])],
        [("x", element, [2, 3])],
        [],
        {"w": np.ones((2, 3), dtype)},
    )
    proto.graph.output.append(helper.make_tensor_value_info("y", element, [2, 3]))
    opened = open_model(proto, name="m")
    assert [one.dtype for one in (*opened.inputs, *opened.params)] == [np.dtype(dtype)] * 2
    x = opened.inputs[0]
    expected = ~x if dtype == "bool" else x + np.ones((2, 3), dtype)
    (got,) = run_in_tvm(opened)
    assert got.dtype == np.dtype(dtype)
    np.testing.assert_array_equal(got, expected)
