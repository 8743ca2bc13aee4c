"""Job: run a library with data that it never ran with, which can crash it.

Through an index out of bounds, say, however well it ran with other data.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pytest_tvmtune.core.job_stage import FIRST_RUN, JobStage
from pytest_tvmtune.core.json_codec import to_json
from pytest_tvmtune.processes.job import Job, WorkerContext
from pytest_tvmtune.relax.devices.lost_device import telling_lost_devices
from pytest_tvmtune.relax.measuring.job_machine import open_machine
from pytest_tvmtune.relax.measuring.session import EntryCall, call, open_requested
from pytest_tvmtune.store.artifacts import MANIFEST, Manifest


@dataclass(frozen=True, kw_only=True, eq=False)
class Request:
    """A library and a call of it.

    names_kernels: enter a separate stage for each kernel, so that a crash is named by its kernel.
    """

    library: Path
    manifest: Manifest
    call: EntryCall
    names_kernels: bool = False


@telling_lost_devices
def run(request: Request, context: WorkerContext[None]) -> None:
    """Load the library and call the entry once.

    Args:
        request: The library and the call.
        context: Of this process.

    """
    machine = open_machine(request.call, context)
    context.enter_stage(FIRST_RUN)
    instrument = _naming_kernels(context) if request.names_kernels else None
    call(
        open_requested(
            request.call, machine, request.library, request.manifest, instrument=instrument
        )
    )


def _naming_kernels(context: WorkerContext[None]) -> Callable[..., int]:
    def instrument(_function: Any, name: str, before: bool, _ret: Any, *_arguments: Any) -> int:
        context.enter_stage(JobStage(f"in kernel {name}", "kernel", name) if before else FIRST_RUN)
        return 0

    return instrument


def run_new_library(
    entry_call: EntryCall, library: Path, manifest: Manifest, context: WorkerContext[None]
) -> None:
    """Run a library once. Its manifest stays with it, to help users investigate a crash."""
    library.with_name(MANIFEST).write_bytes(to_json(manifest))
    run(Request(library=library, manifest=manifest, call=entry_call), context)


JOB = Job(run=run)
