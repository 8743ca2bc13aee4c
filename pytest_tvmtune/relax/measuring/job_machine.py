"""The machine that a job calls a library on."""

from __future__ import annotations

from typing import Any

from pytest_tvmtune.processes.job import WorkerContext
from pytest_tvmtune.relax import compat
from pytest_tvmtune.relax.devices.machine import Machine, ThisMachine
from pytest_tvmtune.relax.devices.remote_machine import open_remote
from pytest_tvmtune.relax.devices.rpc_connection import waiting_stage
from pytest_tvmtune.relax.devices.targets import device_kind
from pytest_tvmtune.relax.measuring.session import EntryCall


def open_machine(call: EntryCall, context: WorkerContext[Any]) -> Machine:
    """Return where a job calls a library; the job keeps a device until its end.

    Raises:
        DeviceError: There is no such device, it doesn't become free, or it can't run the code.

    """
    kind = device_kind(compat.Target(call.target))
    if call.remote is None:
        return ThisMachine(kind)
    remote = call.remote
    return open_remote(
        remote,
        kind=kind,
        num_threads=call.num_threads,
        session_s=remote.session_s,
        on_wait=lambda text: context.enter_stage(waiting_stage(remote.address, text)),
    )
