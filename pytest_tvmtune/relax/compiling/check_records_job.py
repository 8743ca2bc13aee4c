"""Job that finds the record which spoils a build: each is applied and built by itself."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from pytest_tvmtune.core.error_text import cause_of
from pytest_tvmtune.processes.worker import WAITING, enter_stage, tell_progress
from pytest_tvmtune.relax.compiling.compile_job import import_intrinsics_if_needed
from pytest_tvmtune.store.locks import shared_cores
from pytest_tvmtune.store.tuning.work_dirs import RECORDS_FILE, WORKLOADS_FILE


def check_records(request: dict[str, Any]) -> None:
    """Job: apply and build each record of a work_dir by itself, from `first` on.

    request: work_dir, target, first (position in the work_dir, one record a workload). Passes
    {"index", "state", "reason"} to `tell_progress` for each: `begun`, then `sound`, `foreign` (the
    workload's IR isn't what its hash says) or `bad`. One that crashes this process is the one
    that was only begun.
    """
    import tvm

    work_dir, target = Path(request["work_dir"]), tvm.target.Target(request["target"])
    import_intrinsics_if_needed(work_dir, target)
    workloads = [json.loads(line) for line in (work_dir / WORKLOADS_FILE).open()]
    for line in (work_dir / RECORDS_FILE).open():
        index, data = json.loads(line)
        if index >= request["first"]:
            tell_progress(request["folder"], {"index": index, "state": "begun"})
            enter_stage(request["folder"], WAITING)
            with shared_cores():
                # Each has its own time.
                enter_stage(request["folder"], f"building record {index} by itself")
                state, reason = _check(workloads[index], data, target)
            tell_progress(request["folder"], {"index": index, "state": state, "reason": reason})


def _check(workload: list[str], data: list[Any], target: Any) -> tuple[str, str]:
    from tvm.s_tir import Schedule
    from tvm.s_tir.meta_schedule.database import TuningRecord, Workload
    from tvm.s_tir.meta_schedule.utils import shash2hex
    from tvm.s_tir.transform import RemoveWeightLayoutRewriteBlock
    from tvm.tirx import build

    try:
        stock = Workload.from_json(workload)
    except Exception as error:  # noqa: BLE001  TVM raises several types here
        return "foreign", cause_of(error)
    # TVM doesn't compare them.
    if int(str(shash2hex(stock.mod)), 16) != int(workload[0]):
        return "foreign", "its structural hash is another one"
    try:
        schedule = Schedule(stock.mod)
        TuningRecord.from_json(data, stock).trace.apply_to_schedule(schedule, remove_postproc=False)
        mod = RemoveWeightLayoutRewriteBlock(skip_tensor_rewrite=True)(schedule.mod)
        build(mod, target=target)
    except (OSError, MemoryError):
        raise  # the machine's, and not the record's
    except Exception as error:  # noqa: BLE001  and here
        return "bad", cause_of(error)
    return "sound", ""
