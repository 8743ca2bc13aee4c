"""The ONNX front door, on small models made here, against onnxruntime."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from pytest_tvmtune.core.errors import ModelError
from pytest_tvmtune.relax.doors import open_model

FLOAT, INT64 = TensorProto.FLOAT, TensorProto.INT64
RNG = np.random.default_rng(5)


def model(
    nodes: list[Any],
    inputs: list[tuple[str, int, list[Any]]],
    outputs: list[str],
    weights: dict[str, np.ndarray] | None = None,
    *,
    weights_as_inputs: bool = False,
) -> Any:
    tensors = [numpy_helper.from_array(value, name) for name, value in (weights or {}).items()]
    values = [helper.make_tensor_value_info(*one) for one in inputs]
    if weights_as_inputs:
        values += [helper.make_tensor_value_info(t.name, t.data_type, t.dims) for t in tensors]
    graph = helper.make_graph(
        nodes,
        "small",
        values,
        [helper.make_tensor_value_info(name, FLOAT, None) for name in outputs],
        tensors,
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def linear(batch: Any = 2, **options: Any) -> Any:
    weights = {
        "w": RNG.standard_normal((4, 3)).astype("float32"),
        "b": RNG.standard_normal(3).astype("float32"),
    }
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["m"]),
        helper.make_node("Add", ["m", "b"], ["y"]),
    ]
    return model(nodes, [("x", FLOAT, [batch, 4])], ["y"], weights, **options)


def run_in_tvm(opened: Any) -> list[np.ndarray]:
    import tvm
    from tvm import relax

    vm = relax.VirtualMachine(tvm.compile(opened.mod, "llvm"), tvm.cpu())
    arguments = [tvm.runtime.tensor(a) for a in (*opened.inputs, *opened.params)]
    got = vm["main"](*arguments)
    return [got.numpy()] if hasattr(got, "numpy") else [one.numpy() for one in got]


def run_in_onnxruntime(proto: Any, inputs: dict[str, np.ndarray]) -> list[np.ndarray]:
    session = onnxruntime.InferenceSession(
        proto.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    return list(session.run(None, inputs))


def assert_same(proto: Any, inputs: dict[str, np.ndarray], **source: Any) -> Any:
    opened = open_model(proto, name="m", inputs=inputs, **source)
    for got, want in zip(run_in_tvm(opened), run_in_onnxruntime(proto, inputs), strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-6)
    return opened


def floats(*shape: int) -> np.ndarray:
    return RNG.standard_normal(shape).astype("float32")


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


def test_dynamic_dimensions_need_shapes_and_get_them() -> None:
    proto = linear(batch="n")
    with pytest.raises(ModelError, match=r"input 'x' has the dynamic shape \(n, 4\)") as caught:
        open_model(proto, name="m")
    assert "shapes={'x': (1, 4)}" in str(caught.value)
    assert_same(proto, {"x": floats(5, 4)}, shapes={"x": (5, 4)})
    # The caller's own object is left as it was.
    assert proto.graph.input[0].type.tensor_type.shape.dim[0].dim_param == "n"


@pytest.mark.parametrize(
    ("shapes", "message"),
    [
        ({"z": (1, 4)}, "shapes names 'z', the model's inputs are x"),
        ({"x": (1, 4, 1)}, "shapes gives 'x' rank 3, the model has 2"),
        ({"x": (1, 5)}, "shapes gives 'x' the size 5 in dimension 1, the model has 4 there"),
    ],
)
def test_shapes_that_do_not_fit(shapes: dict[str, Any], message: str) -> None:
    with pytest.raises(ModelError, match=message):
        open_model(linear(batch="n"), name="m", shapes=shapes)


def test_names_that_the_importer_changes_stay_the_users() -> None:
    proto = model(
        [helper.make_node("Sub", ["0:a.b", "c/d"], ["y"])],
        [("0:a.b", FLOAT, [3]), ("c/d", FLOAT, [3])],
        ["y"],
    )
    opened = assert_same(proto, {"c/d": floats(3), "0:a.b": floats(3)})
    assert [spec.name for spec in opened.signature.inputs] == ["0:a.b", "c/d"]


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


def test_a_constant_subgraph_is_folded() -> None:
    """The importer refuses a Reshape whose shape is computed by the graph."""
    nodes = [
        helper.make_node("Shape", ["x"], ["shape"]),
        helper.make_node("Gather", ["shape", "zero"], ["n"]),
        helper.make_node("Unsqueeze", ["n", "axis"], ["n1"]),
        helper.make_node("Concat", ["n1", "rest"], ["target"], axis=0),
        helper.make_node("Reshape", ["x", "target"], ["y"]),
    ]
    weights = {
        "zero": np.array(0, "int64"),
        "axis": np.array([0], "int64"),
        "rest": np.array([-1], "int64"),
    }
    assert_same(model(nodes, [("x", FLOAT, [2, 3, 4])], ["y"], weights), {"x": floats(2, 3, 4)})


def test_an_unsupported_operator_is_named_with_its_node() -> None:
    nodes = [
        helper.make_node("LSTM", ["x", "w", "r"], ["y"], name="remember", hidden_size=2),
        helper.make_node("Relu", ["y"], ["z"]),
    ]
    weights = {"w": floats(1, 8, 3), "r": floats(1, 8, 2)}
    with pytest.raises(ModelError, match=r"unsupported operator LSTM \(node 'remember', 1 in all"):
        open_model(model(nodes, [("x", FLOAT, [4, 1, 3])], ["z"], weights), name="m")


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


def test_what_belongs_to_another_door_is_refused() -> None:
    with pytest.raises(ModelError, match="an ONNX model brings its own parameters"):
        open_model(linear(), name="m", params=[floats(4, 3)])
    with pytest.raises(ModelError, match=r"spec=\.\.\. is for a relax"):
        open_model(linear(), name="m", spec={})
    with pytest.raises(ModelError, match="can't open a dict as a model"):
        open_model({}, name="m")
