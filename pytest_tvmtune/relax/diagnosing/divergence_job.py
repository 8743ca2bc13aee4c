"""Job: find the first kernel in which a build diverges from another build of the same model.

The job calls both builds at once, in step, and compares each pair of kernels while both calls wait.
So it never looks at more than two kernels' tensors (relax/measuring/kernel_instrument.py).
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pytest_tvmtune.core.comparing.array_comparison import compare_arrays
from pytest_tvmtune.core.comparing.divergence import Divergence
from pytest_tvmtune.core.comparing.kernel_outputs import kernel_tolerance, statistics_of
from pytest_tvmtune.core.comparing.output_error import OutputError
from pytest_tvmtune.core.comparing.tolerances import Tolerance
from pytest_tvmtune.core.job_stage import JobStage
from pytest_tvmtune.core.kernels.matching import family, matching_positions
from pytest_tvmtune.core.tensors.signature import Array
from pytest_tvmtune.processes.job import Job, WorkerContext
from pytest_tvmtune.relax.devices.lost_device import telling_lost_devices
from pytest_tvmtune.relax.devices.machine import Machine
from pytest_tvmtune.relax.diagnosing.prepacked_params import wrong_transform
from pytest_tvmtune.relax.diagnosing.reproducer import CapturedKernel, write_reproducer
from pytest_tvmtune.relax.measuring.job_machine import open_machine
from pytest_tvmtune.relax.measuring.kernel_instrument import (
    InstrumentedSession,
    KernelCall,
    call_both_watched,
    call_watched,
)
from pytest_tvmtune.relax.measuring.session import EntryCall, open_requested
from pytest_tvmtune.store.artifacts import Artifact

_STAGE = "looking for the first diverging kernel"


@dataclass(frozen=True, kw_only=True)
class _DivergingPair:
    """A pair of calls, and how the first output that differs does."""

    pair: tuple[int, int]
    output: OutputError


@dataclass(frozen=True, kw_only=True)
class AppliedRecord:
    """A tuning record and its workload, in MetaSchedule's JSON."""

    workload: tuple[str, str]
    record: list[Any]


@dataclass(frozen=True, kw_only=True, eq=False)
class Request:
    """The build under test, and the other build.

    against: which build the other is. reproducer: the folder to write. records: those that were
    applied to the build under test, by digest.
    """

    now: Artifact
    reference: Artifact
    call: EntryCall
    tolerance: Tolerance
    against: str
    reproducer: Path
    records: dict[str, AppliedRecord]


@telling_lost_devices
def run(request: Request, context: WorkerContext[None]) -> Divergence:
    """Find the first kernel of `now` that diverges from `reference`.

    Args:
        request: Both builds.
        context: Of this process.

    Returns:
        Which kernel that is, or none.

    """
    tolerance = request.tolerance
    machine = open_machine(request.call, context)
    context.enter_stage(JobStage(_STAGE))
    # The build under test first: transforming takes as much again for a while.
    now = _open(request, machine, request.now)
    reference = _open(request, machine, request.reference)
    calls = [_calls(reference), _calls(now)]
    pairs = matching_positions(*calls)
    found, largest = _first(reference, now, pairs, tolerance)
    none = Divergence(
        kind="none",
        against=request.against,
        kernel=largest,
        calls=len(calls[1]),
        compared=len(pairs),
    )
    if found is None:
        return none
    sides = _capture(reference, now, found.pair)
    want, got = sides
    kernel = now.kernels[got.kernel]
    cause = wrong_transform(now, sides, request.now.kernels, _target_here(request.call), tolerance)
    record = request.records.get(kernel.record)
    named = replace(
        none,
        kind="transform" if cause else "kernel",
        cause=cause,
        kernel=got.kernel,
        other=want.kernel,
        call=found.pair[1],
        output=found.output,
        arguments=tuple(
            statistics_of(index, value, _counterpart(index, want, got), tolerance)
            for index, value in enumerate(got.arguments)
            if index not in kernel.only_written
        ),
        record=kernel.record,
        trace=_trace(record) if record else "",
    )
    kernels = request.reference.kernels, request.now.kernels
    try:
        folder = write_reproducer(sides, kernels, request.call.target, tolerance, context.folder)
        _move(folder, request.reproducer)
    except (OSError, KeyError) as error:
        # A full disk, or kernels' IR that is gone: what was found stands without.
        return replace(named, no_reproducer=f"{type(error).__name__}: {error}")
    return replace(named, reproducer=str(request.reproducer))


def _target_here(call: EntryCall) -> str:
    """Return a target for this machine: all machines have the same layouts."""
    return call.target if call.remote is None else '{"kind": "llvm"}'


def _open(request: Request, machine: Machine, side: Artifact) -> InstrumentedSession:
    return InstrumentedSession(
        session=open_requested(request.call, machine, side.library, side.manifest),
        kernels=side.manifest.kernels,
        originals=request.call.params,
    )


def _move(folder: Path, place: Path) -> None:
    """Move a whole folder to a place, and replace the folder that may exist there."""
    place.parent.mkdir(parents=True, exist_ok=True)
    shutil.rmtree(place, ignore_errors=True)
    folder.rename(place)


def _calls(watched: InstrumentedSession) -> list[Any]:
    """Return what distinguishes the calls of the entry: workload and outputs of each, in order."""
    calls: list[Any] = []

    def note(visit: KernelCall) -> None:
        if visit.before:
            written = watched.kernels[visit.name].outputs
            shapes = tuple(
                (tuple(visit.arguments[index].shape), str(visit.arguments[index].dtype))
                for index in written
            )
            calls.append((family(visit.name), shapes))

    call_watched(watched, note)
    return calls


def _first(
    reference: InstrumentedSession,
    now: InstrumentedSession,
    pairs: list[tuple[int, int]],
    tolerance: Tolerance,
) -> tuple[_DivergingPair | None, str]:
    """Return the first pair whose outputs differ, and now's kernel that comes closest to it."""
    found: _DivergingPair | None = None
    largest, closest = 0.0, ""

    def look(one: KernelCall, other: KernelCall) -> bool:
        nonlocal found, largest, closest
        if one.before:
            return True
        for output in _outputs(reference, now, one, other, tolerance):
            if not output.passed:
                found = _DivergingPair(pair=(one.index, other.index), output=output)
                return False
            if output.worst_abs and output.worst_abs.error / (output.atol or 1) > largest:
                largest, closest = output.worst_abs.error / (output.atol or 1), other.name
        return True

    call_both_watched((reference, now), pairs, look)
    return found, closest


def _outputs(
    reference: InstrumentedSession,
    now: InstrumentedSession,
    one: KernelCall,
    other: KernelCall,
    tolerance: Tolerance,
) -> list[OutputError]:
    written = zip(reference.kernels[one.name].outputs, now.kernels[other.name].outputs, strict=True)
    compared = []
    for number, (i, j) in enumerate(written):
        want, got = one.arguments[i].numpy(), other.arguments[j].numpy()
        path = f"output {number}"
        compared.append(compare_arrays(path, got, want, kernel_tolerance(want, tolerance)))
    return compared


def _capture(
    reference: InstrumentedSession, now: InstrumentedSession, pair: tuple[int, int]
) -> tuple[CapturedKernel, CapturedKernel]:
    """Call both once more; return what the two kernels of a pair got and wrote."""
    before: list[list[Array]] = []
    pointers: list[list[int]] = []
    taken: list[CapturedKernel] = []

    def take(one: KernelCall, other: KernelCall) -> bool:
        if one.before:
            for visit in (one, other):
                before.append([argument.numpy() for argument in visit.arguments])
                pointers.append(visit.addresses())
            return True
        for side, (watched, visit) in enumerate(((reference, one), (now, other))):
            kernel = watched.kernels[visit.name]
            taken.append(
                CapturedKernel(
                    kernel=visit.name,
                    arguments=before[side],
                    pointers=pointers[side],
                    outputs=kernel.outputs,
                    only_written=kernel.only_written,
                    written=[visit.arguments[index].numpy() for index in kernel.outputs],
                )
            )
        return False

    call_both_watched((reference, now), [pair], take)
    return taken[0], taken[1]


def _counterpart(index: int, want: CapturedKernel, got: CapturedKernel) -> Array | None:
    same = len(want.arguments) == len(got.arguments)
    return want.arguments[index] if same else None


def _trace(applied: AppliedRecord) -> str:
    """Return a record's schedule as Python."""
    from tvm.s_tir.meta_schedule.database import TuningRecord, Workload

    parsed = TuningRecord.from_json(applied.record, Workload.from_json(list(applied.workload)))
    return "\n".join(parsed.trace.as_python())


JOB = Job(run=run)
