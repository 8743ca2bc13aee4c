"""How many kernels a call of an entry launches, read off the compiled module."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pytest_tvmtune.relax.compiling.kernel_descriptions import KERNEL_CALLS

if TYPE_CHECKING:
    from tvm.ir import IRModule

_LIBRARY_CALL = "relax.call_dps_packed"


def count_kernel_calls(compiled: IRModule, entry: str) -> int | None:
    """Return how many kernels and library functions a call of an entry calls.

    compiled: as `compile_module` returns it. Of a branch, the side with more calls counts. None for
    a function that calls itself: its number of calls is known at run time only.
    """
    from tvm import relax

    functions = {
        str(var.name_hint): function
        for var, function in compiled.functions_items()
        if isinstance(function, relax.Function)
    }
    known: dict[str, int] = {}

    def of_function(name: str, callers: frozenset[str]) -> int:
        if name in callers:
            raise RecursionError(name)
        if name not in known:
            known[name] = of_expression(functions[name].body, callers | {name})
        return known[name]

    def of_expression(expr: Any, callers: frozenset[str]) -> int:
        if isinstance(expr, relax.SeqExpr):
            values = [binding.value for block in expr.blocks for binding in block.bindings]
            return sum(of_expression(value, callers) for value in (*values, expr.body))
        if isinstance(expr, relax.If):
            sides = (expr.true_branch, expr.false_branch)
            return max(of_expression(side, callers) for side in sides)
        if not isinstance(expr, relax.Call):
            return 0
        callee = str(getattr(expr.op, "name_hint", ""))
        if callee in functions:
            return of_function(callee, callers)
        return str(getattr(expr.op, "name", "")) in (*KERNEL_CALLS, _LIBRARY_CALL)

    try:
        return of_function(entry, frozenset())
    except RecursionError:
        return None
