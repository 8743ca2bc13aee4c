"""Job: call a library's entry on a device behind TVM RPC, and time it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pytest_tvmtune.core.job_stage import JobStage
from pytest_tvmtune.core.tensors.signature import Array
from pytest_tvmtune.processes.job import Job, WorkerContext
from pytest_tvmtune.relax.devices.lost_device import telling_lost_devices
from pytest_tvmtune.relax.measuring.job_machine import open_machine
from pytest_tvmtune.relax.measuring.session import EntryCall, call, open_requested
from pytest_tvmtune.relax.measuring.timing import sample
from pytest_tvmtune.store.artifacts import Manifest


@dataclass(frozen=True, kw_only=True)
class SampleRequest:
    """How the calls are timed: as `timing.sample` is asked."""

    samples: int
    min_sample_s: float
    budget_s: float


@dataclass(frozen=True, kw_only=True, eq=False)
class Request:
    """A library and a call of it. timing: None for one call that isn't timed."""

    library: Path
    manifest: Manifest
    call: EntryCall
    timing: SampleRequest | None = None


@dataclass(frozen=True, kw_only=True, eq=False)
class Result:
    """What the call returned: arrays, and how they are nested: a number for each, in lists.

    samples_s: seconds of a call. transform_s, transform_extra_bytes: as in a Session.
    """

    arrays: tuple[Array, ...]
    nesting: Any
    samples_s: tuple[float, ...]
    transform_s: float | None
    transform_extra_bytes: int | None
    num_threads: int


@telling_lost_devices
def run(request: Request, context: WorkerContext[None]) -> Result:
    """Load the library, transform the parameters, and call the entry.

    Args:
        request: What is called.
        context: Of this process.

    Returns:
        What it returned, and how long it took.

    Raises:
        DeviceError: There is no device.
        CompileError: The library doesn't take what its model promised.

    """
    machine = open_machine(request.call, context)
    context.enter_stage(JobStage("calling the model on the device"))
    session = open_requested(request.call, machine, request.library, request.manifest)
    arrays: list[Array] = []
    nesting = _taken_apart(call(session), arrays)
    samples: list[float] = []
    if request.timing is not None:
        asked = request.timing
        samples = sample(
            session,
            samples=asked.samples,
            min_sample_s=asked.min_sample_s,
            budget_s=asked.budget_s,
        )
    return Result(
        arrays=tuple(arrays),
        nesting=nesting,
        samples_s=tuple(samples),
        transform_s=session.transform_s,
        transform_extra_bytes=session.transform_extra_bytes,
        num_threads=machine.num_threads_used(),
    )


def _taken_apart(outputs: Any, arrays: list[Array]) -> Any:
    if isinstance(outputs, tuple):
        return [_taken_apart(one, arrays) for one in outputs]
    arrays.append(outputs)
    return len(arrays) - 1


def outputs_of(result: Result) -> Any:
    """Return the outputs as `session.call` does."""

    def whole(nesting: Any) -> Any:
        if isinstance(nesting, list):
            return tuple(map(whole, nesting))
        return result.arrays[nesting]

    return whole(result.nesting)


JOB = Job(run=run)
