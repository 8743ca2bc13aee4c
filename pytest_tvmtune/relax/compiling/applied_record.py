"""A tuning record applied to its workload, as the stock pipeline applies it."""

from __future__ import annotations

from typing import Any


def apply_record(data: list[Any], workload: Any) -> tuple[Any, Any]:
    """Return a record and the schedule that its trace makes of a workload.

    Args:
        data: MetaSchedule's [trace, run_secs, target, args_info].
        workload: MetaSchedule's Workload.

    Raises:
        Exception: TVM raises several types where a trace doesn't apply.

    """
    from tvm.s_tir import Schedule
    from tvm.s_tir.meta_schedule.database import TuningRecord

    record = TuningRecord.from_json(data, workload)
    schedule = Schedule(workload.mod)
    record.trace.apply_to_schedule(schedule, remove_postproc=False)
    return record, schedule
