"""Does the installed pair of tvm and tvm-ffi work? Asked in a child, since a bad pair crashes."""

from __future__ import annotations

from typing import Any

from pytest_tvmtune.processes.worker import enter_stage


def probe_pair(request: dict[str, Any]) -> bool:
    """Job: serialise a small IRModule. A bad pair crashes in `ToJSONGraph` here."""
    enter_stage(request["folder"], "serialising an IRModule")
    import tvm
    from tvm import relax

    builder = relax.BlockBuilder()
    x = relax.Var("x", relax.TensorType((2, 2), "float32"))
    with builder.function("main", [x]):
        builder.emit_func_output(builder.emit(relax.op.add(x, x)))
    return len(tvm.ir.save_json(builder.get())) > 0
