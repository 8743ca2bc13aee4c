"""Tiny ONNX models, and their test data, in files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

RNG = np.random.default_rng(8)
WEIGHT = RNG.standard_normal((4, 3)).astype("float32")


def write_linear(path: Path, *, batch: Any = 2, op_type: str = "Relu") -> Path:
    """Write x @ WEIGHT, followed by an operator of one argument, from `x/in` to `y`."""
    nodes = [
        helper.make_node("MatMul", ["x/in", "w"], ["m"]),
        helper.make_node(op_type, ["m"], ["y"], name="last"),
    ]
    graph = helper.make_graph(
        nodes,
        "linear",
        [helper.make_tensor_value_info("x/in", TensorProto.FLOAT, [batch, 4])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [batch, 3])],
        [numpy_helper.from_array(WEIGHT, "w")],
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    opset = [helper.make_opsetid("", 17)]
    onnx.save(helper.make_model(graph, opset_imports=opset, ir_version=8), path)
    return path


def write_data_set(folder: Path, *, batch: int = 2, off_by: float = 0.0) -> None:
    """Write inputs, and the outputs of `write_linear` for them, in the ONNX convention."""
    folder.mkdir(parents=True, exist_ok=True)
    x = RNG.standard_normal((batch, 4)).astype("float32")
    y = np.maximum(x @ WEIGHT, 0) + np.float32(off_by)
    for name, array in {"input_0": x, "output_0": y}.items():
        tensor = numpy_helper.from_array(array, name)
        (folder / f"{name}.pb").write_bytes(tensor.SerializeToString())
