"""Small ONNX models made here, and what TVM and onnxruntime compute of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

from pytest_tvmtune.relax.importing import open_model

FLOAT, INT64 = TensorProto.FLOAT, TensorProto.INT64
RNG = np.random.default_rng(5)


def model(
    nodes: list[Any],
    inputs: Sequence[tuple[str, int, Sequence[Any] | None]],
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


def lstm_model(shape: list[Any]) -> Any:
    """Return a model with an operator that TVM's importer doesn't know."""
    node = helper.make_node("LSTM", ["x", "w", "r"], ["y"], name="remember", hidden_size=2)
    return model([node], [("x", FLOAT, shape)], ["y"], {"w": floats(1, 8, 3), "r": floats(1, 8, 2)})


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
