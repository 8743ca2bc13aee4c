"""Job: take in a library that is compiled already."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pytest_tvmtune.core.error_text import cause_of
from pytest_tvmtune.core.errors import CompileError
from pytest_tvmtune.core.job_stage import JobStage
from pytest_tvmtune.machine.installed_tvm import package_version
from pytest_tvmtune.processes.job import Job, WorkerContext
from pytest_tvmtune.relax.compiling.run_once_job import run_new_library
from pytest_tvmtune.relax.devices.lost_device import telling_lost_devices
from pytest_tvmtune.relax.measuring.job_machine import open_machine
from pytest_tvmtune.relax.measuring.session import EntryCall
from pytest_tvmtune.store.artifacts import EntryPoint, Manifest


@dataclass(frozen=True, kw_only=True, eq=False)
class Request:
    """A library, and how it is run once."""

    library: Path
    call: EntryCall


@dataclass(frozen=True, kw_only=True)
class Result:
    """What is known of the library. manifest: with this entry only."""

    manifest: Manifest


@telling_lost_devices
def run(request: Request, context: WorkerContext[None]) -> Result:
    """Take in the library and run the entry once.

    Args:
        request: The library and the call.
        context: Of this process.

    Returns:
        What is known of the library.

    Raises:
        CompileError: It holds no such entry of a Relax VM.

    """
    machine = open_machine(request.call, context)
    context.enter_stage(JobStage("loading the library"))
    entry = request.call.entry
    try:
        vm = machine.virtual_machine(machine.load(request.library))
    except Exception as error:
        raise CompileError(f"it isn't a library of the Relax VM: {cause_of(error)}") from error
    if not _has_function(vm, entry):
        raise CompileError(f"the library has no entry {entry!r}; name its entry with entry=...")
    transforms = _has_function(vm, f"{entry}_transform_params")
    manifest = Manifest(
        target=request.call.target,
        tvm=package_version("tvm"),
        tvm_ffi=package_version("tvm_ffi"),
        entries={entry: EntryPoint(arguments=None, transforms=transforms)},
    )
    run_new_library(request.call, request.library, manifest, context)
    return Result(manifest=manifest)


def _has_function(vm: Any, name: str) -> bool:
    try:
        vm[name]
    except (AttributeError, ValueError):
        return False
    return True


JOB = Job(run=run)
