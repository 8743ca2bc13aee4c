"""A small model to measure a machine with."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_tvmtune.relax import compat

if TYPE_CHECKING:
    from tvm.ir import IRModule

_WIDTH = 512


def calibration_model() -> IRModule:
    """Return an MLP of two layers, `main(x, w1, w2)`: some 0.2 ms a call, bound by its weights.

    The time of such models depends most on the placement of code and tensors in memory.
    """
    from tvm import relax

    builder = relax.BlockBuilder()
    x = relax.Var("x", compat.tensor_type()((1, _WIDTH), "float32"))
    weights = [
        relax.Var(name, compat.tensor_type()((_WIDTH, _WIDTH), "float32")) for name in ("w1", "w2")
    ]
    with builder.function("main", [x, *weights], attrs={"num_input": 1}):
        with builder.dataflow():
            hidden = builder.emit(relax.op.nn.relu(relax.op.matmul(x, weights[0])))
            result = builder.emit_output(relax.op.matmul(hidden, weights[1]))
        builder.emit_func_output(result)
    return builder.get()
