"""Whether a model can depend on a registration that someone has made with TVM.

The lowering of a Relax operator counts for models that hold it, a function for models that call it.
Every other registration counts for every model, and so do names that TVM itself may look up.
Kernels and the results of passes have operators that no model holds (`tirx.exp`, `relax.call_tir`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pytest_tvmtune.processes.setup_modules import setup_in_use
from pytest_tvmtune.relax.installation.registrations import Registration, is_in_tvms_namespace

if TYPE_CHECKING:
    from tvm.ir import IRModule

# TVM makes other operators of these before it lowers those.
_MADE_OF_OTHERS = (
    "relax.nn.batch_norm",
    "relax.tensor_to_shape",
    "relax.dynamic_strided_slice",
    "relax.dist.",
    "relax.vision.",
)
_LOWERING = "FLegalize"


def concerns(registration: Registration, mod: IRModule | None) -> bool:
    """Whether a registration can change what becomes of a module; None stands for any module."""
    if mod is None:
        return True
    kind, name = registration.kind, registration.name
    attribute, of, operator = name.rpartition(" of ")
    if kind.endswith("operator attribute") and (attribute, of) == (_LOWERING, " of "):
        operators = _operators(mod)
        made = any(one.startswith(_MADE_OF_OTHERS) for one in operators)
        # The setup's own lowerings may make any operator.
        return made or bool(setup_in_use()) or operator in operators
    if kind.endswith("global function"):
        return function_concerns(name, mod)
    return True


def function_concerns(name: str, mod: IRModule | None) -> bool:
    """Return whether a module can call a global function once it is compiled."""
    return mod is None or is_in_tvms_namespace(name) or _names(mod, name)


def _operators(mod: IRModule) -> set[str]:
    from tvm import relax

    found: set[str] = set()

    def visit(expr: Any) -> None:
        if isinstance(expr, relax.Call):
            found.add(str(getattr(expr.op, "name", "")))

    _visit_all(mod, visit)
    return found


def _names(mod: IRModule, function: str) -> bool:
    """Whether a module names a function: in Relax as an ExternFunc, in a PrimFunc as a string."""
    from tvm import relax

    called: set[str] = set()

    def visit(expr: Any) -> None:
        if isinstance(expr, relax.ExternFunc):
            called.add(str(expr.global_symbol))

    _visit_all(mod, visit)
    if function in called:
        return True
    others = (one for _, one in mod.functions_items() if not isinstance(one, relax.Function))
    return any(f'"{function}"' in str(one) for one in others)


def _visit_all(mod: IRModule, visit: Any) -> None:
    from tvm import relax

    for _, function in mod.functions_items():
        if isinstance(function, relax.Function):
            relax.analysis.post_order_visit(function, visit)
