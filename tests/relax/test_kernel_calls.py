"""The number of kernels in a call, against what the VM calls."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import tvm
from tvm import relax

from pytest_tvmtune.relax import compat
from pytest_tvmtune.relax.compiling.kernel_calls import count_kernel_calls
from pytest_tvmtune.relax.compiling.kernel_descriptions import compile_module

pytestmark = pytest.mark.each_version
TENSOR = compat.tensor_type()((16,), "float32")


def sorted_times(builder: Any, value: Any, count: int) -> Any:
    """Emit so many kernels: sorting is not fused."""
    for _ in range(count):
        value = builder.emit(relax.op.sort(value))
    return value


def compiled(mod: Any) -> Any:
    return compile_module(relax.get_pipeline("zero")(mod), tvm.target.Target("llvm"))[:2]


def called(executable: Any, *arguments: Any) -> int:
    """Return how many functions other than Relax's a call calls."""
    vm = relax.VirtualMachine(executable, tvm.cpu())
    names: list[str] = []

    def instrument(_function: Any, name: str, before: bool, _ret: Any, *_given: Any) -> int:
        if before and not name.startswith("vm.builtin.") and name != "inner":
            names.append(name)
        return 0

    vm.set_instrument(instrument)
    vm["main"](*map(tvm.runtime.tensor, arguments))
    return len(names)


def test_functions_that_are_called_count_each_time() -> None:
    builder = relax.BlockBuilder()
    y = relax.Var("y", TENSOR)
    with builder.function("inner", [y], private=True):
        builder.emit_func_output(sorted_times(builder, y, 2))
    inner = builder.get().get_global_var("inner")
    x = relax.Var("x", TENSOR)
    with builder.function("main", [x]):
        value = sorted_times(builder, x, 1)
        for _ in range(3):
            value = builder.emit(relax.Call(inner, [value]))
        builder.emit_func_output(value)
    executable, mod = compiled(builder.finalize())
    assert count_kernel_calls(mod, "main") == called(executable, np.zeros(16, "float32")) == 7
    assert count_kernel_calls(mod, "inner") == 2


def branching(*, loops: bool) -> Any:
    """Return `main(b, x)`: one kernel or three, or, with `loops`, a call of itself."""
    builder = relax.BlockBuilder()
    b = relax.Var("b", compat.tensor_type()((), "bool"))
    x = relax.Var("x", TENSOR)
    with builder.function("main", [b, x]):
        builder.emit_func_output(sorted_times(builder, x, 1))
    mod = builder.finalize()
    main = mod.get_global_var("main")
    sort = relax.op.sort
    few = relax.Call(main, [b, x]) if loops else sort(x)
    body = relax.If(b, few, sort(sort(sort(x))))
    function = relax.Function([b, x], body, TENSOR)
    mod.update_func(
        main, relax.utils.copy_with_new_vars(function).with_attr("global_symbol", "main")
    )
    return relax.transform.Normalize()(mod)


def test_of_a_branch_the_larger_side_counts() -> None:
    executable, mod = compiled(branching(loops=False))
    assert count_kernel_calls(mod, "main") == 3
    for taken, calls in ((False, 3), (True, 1)):
        assert called(executable, np.array(taken), np.zeros(16, "float32")) == calls


def test_a_function_that_calls_itself_has_no_number() -> None:
    _, mod = compiled(branching(loops=True))
    assert count_kernel_calls(mod, "main") is None
