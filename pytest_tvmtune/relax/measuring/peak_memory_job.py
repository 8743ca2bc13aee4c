"""Job: how much resident memory loading a library, and a call, take at most.

Linux keeps the peak of a process's resident memory, and sets it back to the present on request.
Source: proc(5), `VmHWM` in /proc/PID/status and /proc/PID/clear_refs.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from pytest_tvmtune.core.error_text import cause_of
from pytest_tvmtune.core.errors import LackingError
from pytest_tvmtune.core.job_stage import JobStage
from pytest_tvmtune.core.tensors.signature import Array
from pytest_tvmtune.processes.job import Job, WorkerContext
from pytest_tvmtune.processes.shared_arrays import SharedArray
from pytest_tvmtune.relax import compat
from pytest_tvmtune.relax.devices.machine import ThisMachine
from pytest_tvmtune.relax.devices.targets import device_kind
from pytest_tvmtune.relax.measuring.calibration_model import calibration_model
from pytest_tvmtune.relax.measuring.session import EntryCall, call_on_device, open_requested
from pytest_tvmtune.store.artifacts import Manifest

_PROCESS = Path("/proc/self")
_SET_PEAK_BACK = "5"


@dataclass(frozen=True, kw_only=True, eq=False)
class Request:
    """A library and a call of it, on this machine."""

    library: Path
    manifest: Manifest
    call: EntryCall


@dataclass(frozen=True, kw_only=True)
class Result:
    """peak_bytes: the growth of resident memory."""

    peak_bytes: int


def method_digest() -> str:
    """Return the digest of how memory is measured: that of another method is measured again."""
    return hashlib.sha256(Path(__file__).read_bytes()).hexdigest()[:12]


def run(request: Request, context: WorkerContext[None]) -> Result:
    """Load the library, transform the parameters, and call the entry once.

    TVM runs another model before, so that the code of TVM itself, which each call needs, doesn't
    count.

    Args:
        request: What is called.
        context: Of this process.

    Returns:
        The most memory that this took at the same time, with parameters, inputs, and outputs.

    Raises:
        LackingError: The system doesn't show it.
        CompileError: The library doesn't take what its model promised.

    """
    machine = ThisMachine(device_kind(compat.Target(request.call.target)))
    context.enter_stage(JobStage("preparing to measure memory"))
    # The request's arrays are here already, and the tensors made from them count.
    params, inputs = (_in_memory(arrays) for arrays in (request.call.params, request.call.inputs))
    call = replace(request.call, params=params, inputs=inputs)
    _run_another_model(machine)
    machine.empty_pools()
    before_bytes = _begin()
    context.enter_stage(JobStage("measuring the memory of a call"))
    session = open_requested(call, machine, request.library, request.manifest)
    _outputs = call_on_device(session)
    return Result(peak_bytes=max(0, _peak_bytes() - before_bytes))


def _in_memory(arrays: Sequence[Array]) -> tuple[Array, ...]:
    """Return arrays without pages that are still in a file, except those that tensors map."""
    return tuple(one if isinstance(one, SharedArray) else np.array(one) for one in arrays)


def _run_another_model(machine: ThisMachine) -> None:
    import tvm

    mod = calibration_model()
    vm = machine.virtual_machine(tvm.compile(mod, "llvm"))
    shapes = (compat.type_of(one).shape.values for one in mod["main"].params)
    vm["main"](*(tvm.runtime.tensor(np.zeros([*map(int, one)], "float32")) for one in shapes))


def _begin() -> int:
    """Set the peak back to the present; return it."""
    try:
        (_PROCESS / "clear_refs").write_text(_SET_PEAK_BACK)
        return _peak_bytes()
    except (OSError, ValueError, StopIteration) as error:
        raise LackingError(
            "only Linux shows it, in /proc/self/clear_refs and /proc/self/status, and these can't "
            f"be used: {cause_of(error)}"
        ) from error


def _peak_bytes() -> int:
    lines = (_PROCESS / "status").read_text().splitlines()
    line = next(one for one in lines if one.startswith("VmHWM:"))
    return int(line.split()[1]) * 1024


JOB = Job(run=run)
