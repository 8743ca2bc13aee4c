"""Job that applies the traces of another version's records to the workloads of this TVM.

Structural hashes differ between versions of TVM, and so does the IR. The following survives: the
name of a task, the elements and dtypes of its arguments, and whether weights are prepacked.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from pytest_tvmtune.core.error_text import cause_of
from pytest_tvmtune.core.job_stage import JobStage
from pytest_tvmtune.core.kernels.matching import family
from pytest_tvmtune.core.results.task_result import Task
from pytest_tvmtune.processes.job import Job, WorkerContext
from pytest_tvmtune.relax import compat
from pytest_tvmtune.relax.compiling.applied_record import apply_record
from pytest_tvmtune.relax.compiling.prepared_module import extract, prepare
from pytest_tvmtune.relax.tuning.batches import arguments_of
from pytest_tvmtune.relax.tuning.intrinsics import import_intrinsics
from pytest_tvmtune.relax.tuning.replaying.block_names import blocks_of, with_own_block_names
from pytest_tvmtune.relax.tuning.replaying.index_maps import with_own_index_maps
from pytest_tvmtune.relax.tuning.weight_layouts import lost_elements
from pytest_tvmtune.store.tuning.records import Record, Refused
from pytest_tvmtune.store.tuning.workload_ir import has_free_layout

if TYPE_CHECKING:
    from tvm.ir import IRModule

# Of a task: what a tuner would try first, and what a build falls back to.
_KEPT = 3


class ReplayError(Exception):
    """A trace doesn't apply to a workload."""


@dataclass(frozen=True, kw_only=True)
class OldRecord:
    """A record of another version.

    task: the name of its task, "" where that isn't known. free_layout: whether its schedule may
    change the layout of a weight. untuned_is_faster: whether the kernel without a schedule was
    faster there.
    """

    task: str
    free_layout: bool
    untuned_is_faster: bool
    record: Record


@dataclass(frozen=True, kw_only=True)
class Request:
    """A module, as `plan_job` gets it, and the records to replay.

    shashes: the hashes of the workloads that lack records.
    """

    mod_text: str
    target: str
    prepack: bool
    shashes: frozenset[str]
    old: tuple[OldRecord, ...]


@dataclass(frozen=True, kw_only=True)
class Replayed:
    """A workload of this TVM with the records whose traces apply, the best first.

    ir: MetaSchedule's serialization. refused: other records, whose traces don't apply.
    """

    task: Task
    ir: str
    records: tuple[Record, ...]
    refused: tuple[Refused, ...]


@dataclass(frozen=True, kw_only=True)
class Result:
    """The workloads for which there was a record to replay."""

    replayed: tuple[Replayed, ...]


def run(request: Request, context: WorkerContext[None]) -> Result:
    """Apply each matching trace to this TVM's workload.

    Whether a schedule builds is found where it's built: by the tuner, or with the whole model.

    Args:
        request: What is replayed.
        context: Of this process.

    Returns:
        The workloads, with their records as a work_dir has them.

    """
    from tvm.s_tir.meta_schedule.database import Workload

    context.enter_stage(JobStage("replaying records of another TVM"))
    mod, target = compat.load_json(request.mod_text), compat.Target(request.target)
    if '"Tensorize"' in json.dumps([one.record.data[0] for one in request.old]):
        import_intrinsics(str(target.kind.name))
    found = []
    for task, extracted in extract(prepare(mod, target, prepack=request.prepack), target):
        if task.shash in request.shashes:
            workload = Workload(extracted.dispatched[0])
            ir = str(workload.as_json()[1])
            own, others = _matching(
                task, workload.mod, request.old, free_layout=has_free_layout(ir)
            )
            if own or others:
                context.enter_stage(JobStage(f"replaying records of {task.name}"))
                found.append(_replayed(task, workload, ir, own, others))
    return Result(replayed=tuple(found))


def _matching(
    task: Task, mod: IRModule, old: Iterable[OldRecord], *, free_layout: bool
) -> tuple[list[Record], list[Record]]:
    """Return the records of the task of the same name, and of others, the fastest first.

    None at all if the task's own untuned kernel was the fastest there.
    Tasks of a family may compute different values, so the times of others can be shorter.
    """
    sizes = _sizes(arguments_of(mod))
    matching = [
        one
        for one in old
        if one.free_layout == free_layout
        and (not one.task or family(one.task) == family(task.name))
        and _sizes(one.record.data[3]) == sizes
    ]
    matching.sort(key=lambda one: one.record.mean_s)
    own = [one for one in matching if one.task == task.name]
    useful = [one for one in matching if not one.untuned_is_faster]
    if own and not any(one in useful for one in own):
        return [], []
    return (
        [one.record for one in useful if one.task == task.name],
        [one.record for one in useful if one.task != task.name],
    )


def _sizes(arguments: Sequence[Any]) -> list[tuple[str, int]]:
    """Return dtype and number of elements of each argument.

    A record of a prepacked workload has the shapes of weights as its schedule lays them out.
    """
    return [(str(dtype), math.prod(map(int, shape))) for _, dtype, shape in arguments]


def _replayed(
    task: Task, workload: Any, ir: str, own: Sequence[Record], others: Sequence[Record]
) -> Replayed:
    refused: dict[str, Refused] = {}
    records = _first_that_apply(own, workload, refused) or _first_that_apply(
        others, workload, refused
    )
    return Replayed(task=task, ir=ir, records=tuple(records), refused=tuple(refused.values()))


def _first_that_apply(
    old: Sequence[Record], workload: Any, refused: dict[str, Refused]
) -> list[Record]:
    """Return records whose traces apply, and add those that don't to `refused`, by digest."""
    records: list[Record] = []
    for record in _distinct(old):
        if record.digest in refused:
            continue
        try:
            records.append(_applied(record, workload))
        except ReplayError as error:
            reason = f"replayed from {record.replayed_from}: {error}"
            refused[record.digest] = Refused(digest=record.digest, reason=reason)
        if len(records) == _KEPT:
            break
    return records


def _distinct(records: Sequence[Record]) -> Iterator[Record]:
    seen = set()
    for record in records:
        if record.digest not in seen:
            seen.add(record.digest)
            yield record


def _applied(record: Record, workload: Any) -> Record:
    """Return a record whose trace applies to a workload. Raises ReplayError."""
    try:
        trace = with_own_block_names(record.data[0], blocks_of(workload.mod.script()))
        own = [with_own_index_maps(trace), *record.data[1:]]
        _, schedule = apply_record(own, workload)
        lost = lost_elements(schedule.mod)
    except (OSError, MemoryError):
        raise  # the machine's, and not the record's
    except Exception as error:  # TVM raises several types here
        raise ReplayError(cause_of(error)) from error
    if lost:
        raise ReplayError(lost)
    return replace(record, data=own)


JOB = Job(run=run)
