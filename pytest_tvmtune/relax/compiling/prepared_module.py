"""The module as the tuner sees it, and its tasks.

`prepare` repeats the first half of `relax.pipeline.static_shape_tuning_pipeline`, up to where it
tunes. Compiling never uses it: that goes through the stock pipeline itself.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_tvmtune.core.results.task_result import Task
from pytest_tvmtune.relax import compat

if TYPE_CHECKING:
    from tvm.ir import IRModule
    from tvm.s_tir.meta_schedule.extracted_task import ExtractedTask
    from tvm.target import Target


def module_text(mod: IRModule) -> str:
    """Return a module in TVM's JSON, for a job to load."""
    return str(compat.save_json(mod))


def prepare(mod: IRModule, target: Target, *, prepack: bool) -> IRModule:
    """Return `mod` with fused PrimFuncs, as the stock pipeline hands it to MetaSchedule.

    Source: tvm/relax/pipeline.py, static_shape_tuning_pipeline.
    """
    from tvm.relax import transform
    from tvm.relax.pipeline import zero_pipeline

    passes = [
        transform.DecomposeOpsForInference(),
        transform.CanonicalizeBindings(),
        zero_pipeline(),
    ]
    if prepack:
        passes.append(transform.AttachAttrLayoutFreeBuffers())
    with target:
        return compat.Sequential(passes)(mod)


def extract(prepared: IRModule, target: Target) -> list[tuple[Task, ExtractedTask]]:
    """Return the distinct workloads of a prepared module, sorted by structural hash.

    TVM's own order is not deterministic. Workloads that are scheduled already are left out, as
    MetaSchedule leaves them out.
    """
    from tvm.s_tir.meta_schedule.relax_integration import extract_tasks
    from tvm.s_tir.meta_schedule.utils import shash2hex

    pairs: dict[str, tuple[Task, ExtractedTask]] = {}
    for extracted in extract_tasks(prepared, target):
        if extracted.mod.attrs and extracted.mod.attrs.get("tirx.is_scheduled", False):
            continue
        workload = extracted.dispatched[0]
        shash = f"{int(str(shash2hex(workload)), 16):016x}"
        task = Task(
            name=str(extracted.task_name),
            shash=shash,
            weight=int(extracted.weight),
            flop=_flop(workload),
            size_bytes=_size_bytes(workload),
        )
        pairs[shash] = (task, extracted)
    return [pairs[shash] for shash in sorted(pairs)]


def _size_bytes(workload: IRModule) -> int:
    import math

    from tvm import DataType
    from tvm.s_tir.meta_schedule.arg_info import ArgInfo

    try:
        infos = ArgInfo.from_entry_func(workload, remove_preproc=False)
        return sum(
            math.prod(int(size) for size in info.shape) * ((DataType(info.dtype).bits + 7) // 8)
            for info in infos
        )
    except Exception:  # noqa: BLE001  any failure only costs the estimate
        return 0


def _flop(workload: IRModule) -> float:
    from tvm.s_tir.analysis import estimate_tir_flops

    try:
        return float(estimate_tir_flops(workload))
    except Exception:  # noqa: BLE001  any failure only costs the estimate
        return 0.0
