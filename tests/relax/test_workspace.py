"""Peak memory of a call, against what can be reckoned by hand and what the allocator is asked."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import tvm
from tvm import relax

from pytest_tvmtune.relax import compat
from pytest_tvmtune.relax.compiling.kernel_descriptions import compile_module
from pytest_tvmtune.relax.compiling.workspace_memory import peak_bytes

SIZE = 4 * 1024  # of one tensor
TENSOR = compat.tensor_type()((1024,), "float32")
TARGET = tvm.target.Target("llvm")


def chain(count: int, *, outputs: int = 1) -> Any:
    """Return `main`: each value made from the one before; the last `outputs` are returned."""
    builder = relax.BlockBuilder()
    x = relax.Var("x", TENSOR)
    with builder.function("main", [x]):
        values: list[Any] = [x]
        for _ in range(count):
            # Sorting is not fused.
            values.append(builder.emit(relax.op.sort(values[-1])))
        builder.emit_func_output(relax.Tuple(values[-outputs:]) if outputs > 1 else values[-1])
    return builder.finalize()


def planned(mod: Any) -> Any:
    lowered = relax.get_pipeline("zero")(mod)
    return compile_module(lowered, TARGET)


def asked_bytes(executable: Any) -> list[int]:
    """Return the sizes of the storages that a call asks for."""
    vm = relax.VirtualMachine(executable, tvm.cpu())
    sizes: list[int] = []

    def instrument(_function: Any, name: str, before: bool, _ret: Any, *given: Any) -> int:
        if before and name == "vm.builtin.alloc_storage":
            sizes.append(int(given[1][0]))
        return 0

    vm.set_instrument(instrument)
    vm["main"](tvm.runtime.tensor(np.zeros(1024, "float32")))
    return sizes


@pytest.mark.parametrize(
    ("count", "outputs", "tensors"), [(1, 1, 1), (2, 1, 2), (6, 1, 2), (6, 3, 3)]
)
def test_a_chain_needs_two_tensors_at_once_and_its_outputs(
    count: int, outputs: int, tensors: int
) -> None:
    executable, _, mod = planned(chain(count, outputs=outputs))
    assert peak_bytes(mod, "main") == tensors * SIZE
    # The VM is asked for as much in all, and for more where storage was given back between.
    assert tensors * SIZE <= sum(asked_bytes(executable)) <= count * SIZE


def test_a_size_that_only_a_call_tells_is_unknown() -> None:
    builder = relax.BlockBuilder()
    x = relax.Var("x", compat.tensor_type()((tvm.tirx.Var("n", "int64"),), "float32"))
    with builder.function("main", [x]):
        builder.emit_func_output(builder.emit(relax.op.sort(builder.emit(relax.op.sort(x)))))
    assert peak_bytes(planned(builder.finalize())[2], "main") is None


@pytest.mark.each_version
def test_branches_and_functions_called() -> None:
    builder = relax.BlockBuilder()
    y = relax.Var("y", TENSOR)
    with builder.function("inner", [y], private=True):
        builder.emit_func_output(builder.emit(relax.op.sort(builder.emit(relax.op.sort(y)))))
    x = relax.Var("x", TENSOR)
    with builder.function("main", [x]):
        called = builder.emit(relax.Call(builder.get().get_global_var("inner"), [x]))
        builder.emit_func_output(builder.emit(relax.op.sort(called)))
    assert peak_bytes(planned(builder.finalize())[2], "main") == 2 * SIZE
