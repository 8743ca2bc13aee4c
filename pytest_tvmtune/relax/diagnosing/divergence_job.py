"""Job: find the first kernel in which a build diverges from another build of the same model.

Both are called at once, in step, and each pair of kernels is compared while both stand still: at no
time are there more than two kernels' tensors to look at (relax/measuring/kernel_instrument.py).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pytest_tvmtune.core.comparing.array_comparison import compare_arrays
from pytest_tvmtune.core.comparing.divergence import Divergence
from pytest_tvmtune.core.comparing.kernel_outputs import kernel_tolerance, statistics_of
from pytest_tvmtune.core.comparing.output_error import OutputError
from pytest_tvmtune.core.comparing.tolerances import Tolerance
from pytest_tvmtune.core.kernels.matching import family, matching_positions
from pytest_tvmtune.core.tensors.signature import Array
from pytest_tvmtune.processes.worker import enter_stage
from pytest_tvmtune.relax.diagnosing.prepacked_params import wrong_transform
from pytest_tvmtune.relax.diagnosing.reproducer import CapturedKernel, write_reproducer
from pytest_tvmtune.relax.measuring.kernel_instrument import (
    InstrumentedSession,
    KernelCall,
    call_both_watched,
    call_watched,
)
from pytest_tvmtune.relax.measuring.session import open_requested
from pytest_tvmtune.store.artifacts import Manifest

_STAGE = "looking for the first diverging kernel"


@dataclass(frozen=True, kw_only=True)
class _Found:
    """A pair of calls, and how the first output that differs does."""

    pair: tuple[int, int]
    output: OutputError


def find_divergence(request: dict[str, Any]) -> dict[str, Any]:
    """Job: return the Divergence, as JSON values, of `now` from `reference`.

    request: for each side a library path, its manifest's JSON and the path of its kernels' IR;
    entry, target, params, inputs, rtol, atol, against, reproducer (the folder to write), records
    (digest -> [workload's IR, record] in MetaSchedule's JSON).
    """
    enter_stage(request["folder"], _STAGE)
    tolerance = Tolerance(rtol=request["rtol"], atol=request["atol"])
    # The build under test first: transforming takes as much again for a while.
    now = _open(request, "now")
    reference = _open(request, "reference")
    calls = [_calls(reference), _calls(now)]
    pairs = matching_positions(*calls)
    found, largest = _first(reference, now, pairs, tolerance)
    told = Divergence(
        kind="kernel" if found else "none",
        against=request["against"],
        calls=len(calls[1]),
        compared=len(pairs),
    )
    if found is None:
        return replace(told, kernel=largest).to_json()
    sides = _capture(reference, now, found.pair)
    want, got = sides
    kernel = now.kernels[got.kernel]
    kernels = Path(request["now"]["kernels"])
    cause = wrong_transform(now, sides, kernels, request["target"], tolerance)
    named = replace(
        told,
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
        trace=_trace(*request["records"].get(kernel.record, ())),
    )
    try:
        write_reproducer(request, sides, tolerance)
    except (OSError, KeyError) as error:
        # A full disk, or kernels' IR that is gone: what was found stands without.
        return replace(named, no_reproducer=f"{type(error).__name__}: {error}").to_json()
    return replace(named, reproducer=request["reproducer"]).to_json()


def _open(request: dict[str, Any], side: str) -> InstrumentedSession:
    return InstrumentedSession(
        session=open_requested(request, request[side]),
        kernels=Manifest.from_json(request[side]["manifest"]).kernels,
        originals=request["params"],
    )


def _calls(watched: InstrumentedSession) -> list[Any]:
    """Return what tells the calls of the entry apart: the workload and its outputs, in order."""
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
) -> tuple[_Found | None, str]:
    """Return the first pair whose outputs differ, and now's kernel that comes closest to it."""
    found: _Found | None = None
    largest, closest = 0.0, ""

    def look(one: KernelCall, other: KernelCall) -> bool:
        nonlocal found, largest, closest
        if one.before:
            return True
        for output in _outputs(reference, now, one, other, tolerance):
            if not output.passed:
                found = _Found(pair=(one.index, other.index), output=output)
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
                pointers.append([int(argument.data_ptr()) for argument in visit.arguments])
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


def _trace(workload: Any = None, record: Any = None) -> str:
    """Return a record's schedule as Python, "" without one."""
    if record is None:
        return ""
    from tvm.s_tir.meta_schedule.database import TuningRecord, Workload

    parsed = TuningRecord.from_json(record, Workload.from_json(workload))
    return "\n".join(parsed.trace.as_python())
