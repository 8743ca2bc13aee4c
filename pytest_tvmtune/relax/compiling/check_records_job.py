"""Job that finds the record that spoils a build: it applies and builds each record alone."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pytest_tvmtune.core.error_text import cause_of
from pytest_tvmtune.core.job_stage import WAITING, JobStage
from pytest_tvmtune.processes.job import Job, WorkerContext
from pytest_tvmtune.relax import compat
from pytest_tvmtune.relax.compiling.applied_record import apply_record
from pytest_tvmtune.relax.tuning.intrinsics import import_intrinsics_of_records
from pytest_tvmtune.store.locks import shared_cores
from pytest_tvmtune.store.tuning.work_dirs import RECORDS_FILE, WORKLOADS_FILE


@dataclass(frozen=True, kw_only=True)
class Request:
    """A work_dir with one record a workload; first: the position to begin at."""

    work_dir: Path
    target: str
    first: int


@dataclass(frozen=True, kw_only=True)
class RecordCheck:
    """What is known of a record, by its position in the work_dir.

    state: `begun`, then `sound`, `foreign` (the workload's IR isn't what its hash says) or `bad`.
    """

    index: int
    state: Literal["begun", "sound", "foreign", "bad"]
    reason: str = ""


def run(request: Request, context: WorkerContext[RecordCheck]) -> None:
    """Apply and build each record alone.

    The job reports each record when it begins and when it has checked it. If a record crashes this
    process, it is the record that was begun but not checked.

    Args:
        request: The records.
        context: Of this process.

    """
    work_dir, target = request.work_dir, compat.Target(request.target)
    import_intrinsics_of_records(work_dir, str(target.kind.name))
    workloads = [json.loads(line) for line in (work_dir / WORKLOADS_FILE).open()]
    for line in (work_dir / RECORDS_FILE).open():
        index, data = json.loads(line)
        if index >= request.first:
            context.report_progress(RecordCheck(index=index, state="begun"))
            context.enter_stage(WAITING)
            with shared_cores():
                # Each has its own time.
                context.enter_stage(JobStage(f"building only record {index}"))
                checked = _check(index, workloads[index], data, target)
            context.report_progress(checked)


def _check(index: int, workload: list[str], data: list[Any], target: Any) -> RecordCheck:
    from tvm.s_tir.meta_schedule.database import Workload
    from tvm.s_tir.meta_schedule.utils import shash2hex
    from tvm.s_tir.transform import RemoveWeightLayoutRewriteBlock

    try:
        stock = Workload.from_json(workload)
    except Exception as error:  # noqa: BLE001  TVM raises several types here
        return RecordCheck(index=index, state="foreign", reason=cause_of(error))
    # TVM doesn't compare them.
    if int(str(shash2hex(stock.mod)), 16) != int(workload[0]):
        reason = "its structural hash differs"
        return RecordCheck(index=index, state="foreign", reason=reason)
    try:
        _, schedule = apply_record(data, stock)
        mod = RemoveWeightLayoutRewriteBlock(skip_tensor_rewrite=True)(schedule.mod)
        compat.build_kernels(mod, target=target)
    except (OSError, MemoryError):
        raise  # the machine's, and not the record's
    except Exception as error:  # noqa: BLE001  and here
        return RecordCheck(index=index, state="bad", reason=cause_of(error))
    return RecordCheck(index=index, state="sound")


JOB = Job(run=run)
