"""How the entries of a compiled module are called."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_tvmtune.core.errors import ModelError
from pytest_tvmtune.relax import compat
from pytest_tvmtune.relax.compiling.kernel_calls import count_kernel_calls
from pytest_tvmtune.relax.compiling.workspace_memory import peak_bytes
from pytest_tvmtune.relax.model import spec_of_type
from pytest_tvmtune.store.artifacts import EntryPoint

if TYPE_CHECKING:
    from tvm.ir import IRModule


def entry_points(lowered: IRModule, compiled: IRModule, planned: IRModule) -> dict[str, EntryPoint]:
    """Return how the entries of a library are called, by name.

    Args:
        lowered: The module that was compiled.
        compiled: The same where `call_tir` calls all kernels.
        planned: The same with its memory planned.

    """
    from tvm import relax

    functions = {
        str(var.name_hint): function
        for var, function in lowered.functions_items()
        if isinstance(function, relax.Function)
    }
    entries = {}
    for name, function in functions.items():
        if (
            name.endswith("_transform_params")
            and name.removesuffix("_transform_params") in functions
        ):
            continue
        try:
            arguments = tuple(
                spec_of_type(compat.name_of(p), compat.type_of(p), name) for p in function.params
            )
        except (ModelError, AttributeError):
            continue  # it takes more than static tensors, so no test can call it
        entries[name] = EntryPoint(
            arguments=arguments,
            transforms=f"{name}_transform_params" in functions,
            workspace_bytes=peak_bytes(planned, name),
            kernel_calls=count_kernel_calls(compiled, name),
        )
    return entries
