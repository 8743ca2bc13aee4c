"""The kernels of a lowered module: what the manifest says of them, and their IR."""

from __future__ import annotations

import gzip
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytest_tvmtune.core.kernels import Kernel, task_name

if TYPE_CHECKING:
    from tvm.ir import IRModule
    from tvm.tirx import PrimFunc

_CALLS = ("relax.call_tir", "relax.call_tir_inplace")


def describe(lowered: IRModule, tasks: Mapping[str, tuple[str, str]]) -> dict[str, Kernel]:
    """Return the kernels of a module that the pipeline has lowered.

    tasks: name -> (structural hash, digest of the record that was there to apply, or "").
    """
    import tvm_ffi

    outputs, calls = _calls(lowered)
    kernels = {}
    for name, function in _prim_funcs(lowered).items():
        shash, record = tasks.get(task_name(name), ("", ""))
        bare = function.without_attr("global_symbol")
        kernels[name] = Kernel(
            outputs=outputs.get(name, ()),
            calls=calls[name],
            shash=shash,
            record=record if is_scheduled(function) else "",
            code=f"{int(tvm_ffi.structural_hash(bare)) & (2**64 - 1):016x}",
        )
    return kernels


def is_scheduled(function: Any) -> bool:
    """Whether a PrimFunc came out of the tuning database: the one reliable hit test."""
    return bool(function.attrs and function.attrs.get("tirx.is_scheduled", False))


def write_kernels(lowered: IRModule, path: Path) -> None:
    """Write the IR of all kernels, as they are compiled, to a compressed file."""
    import tvm

    text = str(tvm.ir.save_json(tvm.IRModule(_prim_funcs(lowered))))
    # No time and no name in it: the same kernels make the same file.
    path.write_bytes(gzip.compress(text.encode(), mtime=0))


def read_kernel(path: Path, name: str) -> PrimFunc:
    """Return the IR of one kernel. Raises OSError, KeyError."""
    import tvm

    mod = tvm.ir.load_json(gzip.decompress(path.read_bytes()).decode())
    found = {str(var.name_hint): function for var, function in mod.functions_items()}
    return found[name]


def _prim_funcs(lowered: IRModule) -> dict[str, PrimFunc]:
    from tvm.tirx import PrimFunc

    return {
        str(var.name_hint): function
        for var, function in lowered.functions_items()
        if isinstance(function, PrimFunc)
    }


def _calls(lowered: IRModule) -> tuple[dict[str, tuple[int, ...]], Counter[str]]:
    """Return kernel -> the positions of the arguments it writes, and how often each is called."""
    from tvm import relax

    found: dict[str, tuple[int, ...]] = {}
    calls: Counter[str] = Counter()

    def visit(expr: Any) -> None:
        if not isinstance(expr, relax.Call) or str(getattr(expr.op, "name", "")) not in _CALLS:
            return
        given = len(expr.args[1].fields)
        out = expr.ty_args[0]
        count = len(out.fields) if hasattr(out, "fields") else 1
        new = iter(range(given, given + count))
        # Of those written in place an index says which argument that is; -1 is a new one.
        inplace = [int(i) for i in getattr(expr.attrs, "inplace_indices", ())] or [-1] * count
        name = str(expr.args[0].name_hint)
        calls[name] += 1
        found[name] = tuple(next(new) if index < 0 else index for index in inplace)

    for _, function in lowered.functions_items():
        if isinstance(function, relax.Function):
            relax.analysis.post_order_visit(function.body, visit)
    return found, calls
