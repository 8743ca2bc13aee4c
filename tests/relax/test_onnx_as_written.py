"""How ONNX models are written: weights in files, versions and opsets, constants and functions."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from pytest_tvmtune.core.errors import ImporterError, ModelError
from pytest_tvmtune.relax.importing import open_model
from tests.relax.small_onnx import FLOAT, INT64, assert_same, floats, linear, model, run_in_tvm


def test_weights_in_a_file_of_their_own(tmp_path: Path) -> None:
    path = tmp_path / "linear.onnx"
    apart = {"save_as_external_data": True, "location": "linear.bin", "size_threshold": 0}
    onnx.save(linear(), str(path), **apart)
    assert len(open_model(path, name="m").params) == 2
    weights = tmp_path / "linear.bin"
    weights.write_bytes(weights.read_bytes()[:8])
    with pytest.raises(
        ModelError, match=r"its weights are in other files.*put the files into the folder"
    ):
        open_model(path, name="m")
    weights.unlink()
    with pytest.raises(ModelError, match=r"weights of 'w' are in 'linear\.bin', which doesn't"):
        open_model(path, name="m")
    with pytest.raises(ModelError, match=r"values of 'w' are in another file.*give the model's p"):
        open_model(onnx.load(str(path), load_external_data=False), name="m")


@pytest.mark.parametrize("location", ["../secret", "/etc/hostname"])
def test_weights_outside_of_the_models_folder_are_not_read(tmp_path: Path, location: str) -> None:
    path = tmp_path / "models" / "linear.onnx"
    path.parent.mkdir()
    (tmp_path / "secret").write_bytes(bytes(1000))
    proto = linear()
    onnx.external_data_helper.set_external_data(proto.graph.initializer[0], location)
    proto.graph.initializer[0].ClearField("raw_data")
    path.write_bytes(proto.SerializeToString())
    with pytest.raises(ModelError, match=f"in {location!r}, outside of the model's folder"):
        open_model(path, name="m")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"ir_version": 2}, "IR version 2 is too old, because TVM's importer takes 3 or later"),
        ({"ir_version": 999}, "IR version 999 is newer than the installed onnx .* knows"),
        ({"opset": 999}, "opset 999 is newer than the installed onnx .* knows"),
        ({"opset": 0}, "opset 0 is too old, and onnx can't convert it to 7"),
        ({"opset": None}, "it has no opset"),
    ],
)
def test_versions_that_are_not_known(change: dict[str, Any], message: str) -> None:
    proto = linear()
    proto.ir_version = change.get("ir_version", 8)
    if "opset" in change:
        del proto.opset_import[:]
    if change.get("opset") is not None:
        proto.opset_import.append(helper.make_opsetid("", change["opset"]))
    with pytest.raises(ModelError, match=message):
        open_model(proto, name="m")


def test_an_opset_before_7_is_converted() -> None:
    """Its Add broadcasts by an attribute, which TVM's importer overlooks."""
    node = helper.make_node("Add", ["x", "b"], ["y"], broadcast=1, axis=0)
    proto = model([node], [("x", FLOAT, [2, 2])], ["y"], {"b": floats(2)}, weights_as_inputs=True)
    proto.ir_version = 3
    proto.opset_import[0].version = 6
    proto.graph.output[0].CopyFrom(helper.make_tensor_value_info("y", FLOAT, [2, 2]))
    x = floats(2, 2)
    opened = open_model(proto, name="m", inputs={"x": x})
    bias = numpy_helper.to_array(proto.graph.initializer[0])
    np.testing.assert_allclose(run_in_tvm(opened)[0], x + bias[:, None], rtol=1e-6)


def test_slopes_of_an_opset_before_7_are_one_for_each_channel() -> None:
    node = helper.make_node("PRelu", ["x", "slope"], ["y"])
    slope, x = np.array([0.5, 0, 2], "float32"), floats(2, 3, 4)
    proto = model([node], [("x", FLOAT, [2, 3, 4])], ["y"], {"slope": slope})
    proto.ir_version, proto.opset_import[0].version = 3, 6
    proto.graph.input.append(helper.make_tensor_value_info("slope", FLOAT, [3]))
    proto.graph.output[0].CopyFrom(helper.make_tensor_value_info("y", FLOAT, [2, 3, 4]))
    opened = open_model(proto, name="m", inputs={"x": x})
    np.testing.assert_allclose(run_in_tvm(opened)[0], np.where(x < 0, x * slope[:, None], x))


SCALES = {"s": np.array([1, 1, 2, 2.5], "float32")}


@pytest.mark.parametrize(
    ("opset", "node", "weights"),
    [
        (9, helper.make_node("Slice", ["x"], ["y"], axes=[3], starts=[1], ends=[3]), {}),
        (7, helper.make_node("Upsample", ["x"], ["y"], scales=[1.0, 1.0, 2.0, 3.0]), {}),
        (9, helper.make_node("Upsample", ["x", "s"], ["y"], mode="linear"), SCALES),
        (10, helper.make_node("Resize", ["x", "s"], ["y"], mode="linear"), SCALES),
        (10, helper.make_node("Resize", ["x", "s"], ["y"]), SCALES),
        (10, helper.make_node("TopK", ["x", "k"], ["y", "i"]), {"k": np.array([2])}),
    ],
    ids=lambda value: getattr(value, "op_type", None),
)
def test_operators_that_took_attributes_then(
    opset: int, node: Any, weights: dict[str, np.ndarray]
) -> None:
    """The importer has converters of their later forms only, or resizes otherwise."""
    proto = model([node], [("x", FLOAT, [1, 1, 2, 4])], ["y"], weights)
    proto.opset_import[0].version = opset
    assert_same(proto, {"x": floats(1, 1, 2, 4)})


def test_positions_are_constants_that_the_importer_knows() -> None:
    nodes = [
        helper.make_node("SequenceConstruct", ["x", "w"], ["s"]),
        helper.make_node("SequenceAt", ["s", "last"], ["z"]),
        helper.make_node("Mul", ["x", "z"], ["y"]),
    ]
    weights = {"w": floats(2, 3), "last": np.array(-1, "int64")}
    proto = model(nodes, [("x", FLOAT, [2, 3])], ["y"], weights, weights_as_inputs=True)
    opened = assert_same(proto, {"x": floats(2, 3)})
    assert [param.shape for param in opened.params] == [(2, 3)]


def test_bounds_are_constants_that_are_folded() -> None:
    """TVM asks at run time whether a bound is NaN; a convolution with that has no schedules."""
    from tvm import relax

    nodes = [helper.make_node("Clip", ["x", "low", "high"], ["y"])]
    weights = {"low": np.array(0, "float32"), "high": np.array(6, "float32")}
    proto = model(nodes, [("x", FLOAT, [2, 3])], ["y"], weights)
    opened = assert_same(proto, {"x": floats(2, 3) * 9})
    assert not opened.params
    folded = relax.get_pipeline("zero")(opened.mod)
    assert "maximum" in folded.script()
    assert "isnan" not in folded.script()


def test_a_scale_stays_a_parameter() -> None:
    """As a constant it would be part of the workload, and tuned anew with each calibration."""
    nodes = [helper.make_node("Mul", ["x", "scale"], ["y"])]
    proto = model(nodes, [("x", FLOAT, [2, 3])], ["y"], {"scale": np.array(0.7, "float32")})
    opened = assert_same(proto, {"x": floats(2, 3)})
    assert [param.shape for param in opened.params] == [()]


def test_a_shape_that_depends_on_an_inputs_values_is_refused() -> None:
    nodes = [
        helper.make_node("Relu", ["x"], ["r"]),
        helper.make_node("Expand", ["r", "shape"], ["y"]),
    ]
    proto = model(nodes, [("x", FLOAT, [1, 3]), ("shape", INT64, [2])], ["y"])
    with pytest.raises(
        ImporterError, match=r"Expand \(the node with output 'y'\) gives 'y' a shape"
    ):
        open_model(proto, name="m")


def test_functions_of_the_model_are_inlined() -> None:
    body = helper.make_function(
        "own", "Twice", ["a"], ["b"], [helper.make_node("Add", ["a", "a"], ["b"])],
        [helper.make_opsetid("", 17)],
    )  # fmt: skip
    proto = model(
        [helper.make_node("Twice", ["x"], ["y"], domain="own")], [("x", FLOAT, [3])], ["y"]
    )
    proto.functions.append(body)
    proto.opset_import.append(helper.make_opsetid("own", 1))
    assert_same(proto, {"x": floats(3)})


def test_weights_that_are_constant_nodes_become_parameters() -> None:
    weight, sizes = numpy_helper.from_array(floats(8, 8), "w"), np.array([1, -1])
    nodes = [
        helper.make_node("Constant", [], ["w"], value=weight),
        helper.make_node("Constant", [], ["shape"], value=numpy_helper.from_array(sizes, "s")),
        helper.make_node("MatMul", ["x", "w"], ["m"]),
        helper.make_node("Reshape", ["m", "shape"], ["y"]),
    ]
    opened = assert_same(model(nodes, [("x", FLOAT, [2, 8])], ["y"]), {"x": floats(2, 8)})
    assert [param.shape for param in opened.params] == [(8, 8)]
