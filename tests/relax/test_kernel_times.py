"""What the instrument sees of a call, by the clock."""

from __future__ import annotations

from typing import Any

import numpy as np
import tvm
from tvm import relax

from pytest_tvmtune.relax.kernel_times import _null, _watch


def test_a_relax_function_that_calls_kernels_is_not_counted_beside_them() -> None:
    tensor = relax.TensorType((1,), "float32")
    builder = relax.BlockBuilder()
    x, y = (relax.Var(name, tensor) for name in "xy")
    with builder.function("inner", [y]):
        kernel = builder.add_func(_null(2), "kernel")
        value: Any = y
        for _ in range(3):
            value = builder.emit(relax.call_tir(kernel, (value,), tensor))
        builder.emit_func_output(value)
    with builder.function("main", [x]):
        inner = builder.get().get_global_var("inner")
        builder.emit_func_output(builder.emit(relax.Call(inner, [x])))
    vm = relax.VirtualMachine(tvm.compile(builder.finalize(), "llvm"), tvm.cpu())
    call_s, calls = _watch(vm, "main", [tvm.runtime.tensor(np.zeros(1, "float32"))])
    names = [name for name, _, _ in calls]
    assert names.count("kernel") == 3
    assert "inner" not in names
    assert 0 < sum(seconds for _, _, seconds in calls) < call_s
