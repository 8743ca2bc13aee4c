"""The kernels of a lowered module: what the manifest says of them, and their IR."""

from __future__ import annotations

import gzip
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytest_tvmtune.core.kernels.matching import Kernel, task_name
from pytest_tvmtune.relax import compat
from pytest_tvmtune.relax.compiling.kernel_work import UNKNOWN_WORK, work_of

if TYPE_CHECKING:
    from tvm.ir import IRModule
    from tvm.tirx import PrimFunc

KERNEL_CALLS = ("relax.call_tir", "relax.call_tir_inplace")
# Passes of TVM's default pipeline: the first lowers `call_tir`, the second what is allocated.
_CALLED, _PLANNED = "CallTIRRewrite", "VMShapeLower"
# A pass of the stock pipeline: kernels have no schedule before it.
_SCHEDULED = "MetaScheduleApplyDatabase"
_Positions = tuple[int, ...]


def compile_module(lowered: IRModule, target: Any) -> tuple[Any, IRModule, IRModule]:
    """Return the executable that `tvm.compile` makes of a module, and two intermediate modules.

    In the first module, `call_tir` calls the kernels. In the second, memory is planned.

    The default pipeline of `tvm.compile` lowers, dispatches, and fuses the remaining operators.
    After the stock tuning pipeline, only unused reshapes remain. After a user's own pipeline,
    everything that it left out remains.
    """
    import tvm

    with _noting_modules(_CALLED, _PLANNED) as noted:
        executable = tvm.compile(lowered, target)
    return executable, noted.get(_CALLED, lowered), noted.get(_PLANNED, lowered)


def apply_pipeline(pipeline: Any, mod: IRModule) -> tuple[IRModule, dict[str, PrimFunc]]:
    """Return what the stock pipeline makes of a module, and its kernels before they are scheduled.

    The names of those are the names of their tasks.
    """
    with _noting_modules(_SCHEDULED) as noted:
        lowered = pipeline(mod)
    return lowered, _prim_funcs(noted[_SCHEDULED]) if _SCHEDULED in noted else {}


@contextmanager
def _noting_modules(*passes: str) -> Iterator[dict[str, IRModule]]:
    """Note the last module that comes to each of these passes."""
    noted: dict[str, IRModule] = {}

    @compat.pass_instrument
    class Before:
        """Notes the modules that come to these passes."""

        def run_before_pass(self, mod: IRModule, info: Any) -> None:
            if str(info.name) in passes:
                noted[str(info.name)] = mod

    with compat.PassContext(instruments=[Before()]):
        yield noted


def describe(
    compiled: IRModule,
    tasks: Mapping[str, tuple[str, str]],
    unscheduled: Mapping[str, PrimFunc] | None = None,
) -> dict[str, Kernel]:
    """Return the kernels of a module, as `compile_module` returns it.

    tasks: name -> (structural hash, digest of the record that the pipeline could apply, or "").
    unscheduled: as `apply_pipeline` returns them. Without it, the work of scheduled kernels isn't
    known.
    """
    import tvm_ffi

    written, calls = _calls(compiled)
    kernels = {}
    for name, function in _prim_funcs(compiled).items():
        shash, record = tasks.get(task_name(name), ("", ""))
        outputs, in_place = written.get(name, ((), ()))
        bare = function.without_attr("global_symbol")
        # A schedule may compute values twice, or pad: its work isn't that of the model.
        bare_loops = None if is_scheduled(function) else function
        asked = (unscheduled or {}).get(task_name(name), bare_loops)
        work = work_of(asked, in_place) if asked is not None else UNKNOWN_WORK
        kernels[name] = Kernel(
            outputs=outputs,
            in_place=in_place,
            calls=calls[name],
            shash=shash,
            record=record if is_scheduled(function) else "",
            code=f"{int(tvm_ffi.structural_hash(bare)) & (2**64 - 1):016x}",
            flop=work.flop,
            traffic_bytes=work.traffic_bytes,
        )
    return kernels


def by_itself(function: Any) -> Any:
    """Return a module with one PrimFunc, `main`, to be compiled alone."""
    return compat.IRModule({"main": function.with_attr("global_symbol", "main")})


def is_scheduled(function: Any) -> bool:
    """Whether a PrimFunc came out of the tuning database: the one reliable hit test."""
    return bool(function.attrs and function.attrs.get("tirx.is_scheduled", False))


def write_kernels(compiled: IRModule, path: Path) -> None:
    """Write the IR of all kernels, as they are compiled, to a compressed file."""
    text = str(compat.save_json(compat.IRModule(_prim_funcs(compiled))))
    # No time and no name in it: the same kernels make the same file.
    path.write_bytes(gzip.compress(text.encode(), mtime=0))


def read_kernel(path: Path, name: str) -> PrimFunc:
    """Return the IR of one kernel. Raises OSError, KeyError."""
    mod = compat.load_json(gzip.decompress(path.read_bytes()).decode())
    found = {str(var.name_hint): function for var, function in mod.functions_items()}
    return found[name]


def _prim_funcs(mod: IRModule) -> dict[str, PrimFunc]:
    return {
        str(var.name_hint): function
        for var, function in mod.functions_items()
        if isinstance(function, compat.PrimFunc)
    }


def _calls(compiled: IRModule) -> tuple[dict[str, tuple[_Positions, _Positions]], Counter[str]]:
    """Return kernel -> the arguments it writes and those of them in place; and its calls."""
    from tvm import relax

    found: dict[str, tuple[_Positions, _Positions]] = {}
    calls: Counter[str] = Counter()

    def visit(expr: Any) -> None:
        if (
            not isinstance(expr, relax.Call)
            or str(getattr(expr.op, "name", "")) not in KERNEL_CALLS
        ):
            return
        given = len(expr.args[1].fields)
        out = compat.type_arguments_of(expr)[0]
        count = len(out.fields) if hasattr(out, "fields") else 1
        new = iter(range(given, given + count))
        # Of those written in place an index says which argument that is; -1 is a new one.
        inplace = [int(i) for i in getattr(expr.attrs, "inplace_indices", ())] or [-1] * count
        name = str(expr.args[0].name_hint)
        calls[name] += 1
        found[name] = (
            tuple(next(new) if index < 0 else index for index in inplace),
            tuple(index for index in inplace if index >= 0),
        )

    for _, function in compiled.functions_items():
        if isinstance(function, relax.Function):
            relax.analysis.post_order_visit(function.body, visit)
    return found, calls
