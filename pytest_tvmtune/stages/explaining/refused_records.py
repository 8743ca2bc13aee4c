"""After a failed build: find the tuning records that break it, and refuse them permanently."""

from __future__ import annotations

import secrets
import shutil
import warnings
from dataclasses import replace

from pytest_tvmtune.core.errors import ChildError, CompileError, RecordsNotAppliedError
from pytest_tvmtune.processes.run_job import run_job
from pytest_tvmtune.relax.compiling import check_records_job
from pytest_tvmtune.stages.case import Case, tuning_key
from pytest_tvmtune.stages.job_context import job_context
from pytest_tvmtune.stages.tuning_tasks import Records
from pytest_tvmtune.store.tuning.records import Record, Workload
from pytest_tvmtune.store.tuning.work_dirs import write_work_dir
from pytest_tvmtune.store.tuning.workload_files import drop_workload, refuse_records


def refuse_bad_records(case: Case, records: Records, error: CompileError | ChildError) -> bool:
    """Refuse the records that made a build fail; whether there were any, so that it may be retried.

    A library that crashes when it is run is a finding, and no reason to refuse a record.
    """
    if not records or (isinstance(error, ChildError) and error.stage.kind == "first run"):
        return False
    if isinstance(error, RecordsNotAppliedError):
        bad = dict.fromkeys(error.shashes, ("bad", "the pipeline didn't apply it"))
    else:
        bad = _check_each(case, records)
    key = tuning_key(case)
    for shash, (state, reason) in bad.items():
        workload, record = records[shash]
        told = f"its IR doesn't match the hash in its name: {reason}"
        if state == "foreign" and drop_workload(case.store, key, shash, told):
            continue
        # Of a foreign file in a fallback, none can be used.
        refused = workload.records if state == "foreign" else (record,)
        refuse_records(case.store, key, workload, refused, reason)
        warnings.warn(
            f"tuning store: a record of {workload.name} ({shash}) was refused, because it can't be "
            f"applied or built ({reason}); to tune the task again, use --tvm-tuning=refresh; to "
            "list "
            f"the refused records, run `tvmtune db show {shash}`",
            stacklevel=2,
        )
    return bool(bad)


def _check_each(case: Case, records: Records) -> dict[str, tuple[str, str]]:
    """Return {hash: (state, reason)} of the records that fail alone."""
    shashes = list(records)
    pairs: list[tuple[Workload, list[Record]]] = [
        (workload, [record]) for workload, record in records.values()
    ]
    folder = case.store.scratch / f"check-{secrets.token_hex(8)}"
    checks: dict[int, check_records_job.RecordCheck] = {}
    context = job_context(case, "check")
    first = 0
    try:
        write_work_dir(folder, pairs)
        while first < len(shashes):
            try:
                request = check_records_job.Request(
                    work_dir=folder, target=case.target_json, first=first
                )
                run_job(
                    check_records_job.JOB,
                    request,
                    context,
                    on_progress=lambda check: checks.update({check.index: check}),
                )
                break
            except ChildError as error:
                index = max(checks, default=-1)
                begun = index >= first and checks[index].state == "begun"
                # What ended by itself, or was killed from outside, blames no record.
                if not begun or error.cause in {"", "SIGKILL"}:
                    raise
                reason = str(error).splitlines()[0]
                checks[index] = replace(checks[index], state="bad", reason=reason)
                first = index + 1
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return {
        shashes[index]: (check.state, check.reason)
        for index, check in checks.items()
        if check.state != "sound"
    }
