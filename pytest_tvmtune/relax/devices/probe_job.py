"""Job: what a device behind TVM RPC is."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path

from pytest_tvmtune.core.job_stage import JobStage
from pytest_tvmtune.core.settings.rpc_address import RpcAddress
from pytest_tvmtune.machine.fingerprint import Fingerprint, cpu_model, fingerprint
from pytest_tvmtune.processes.job import Job, WorkerContext
from pytest_tvmtune.relax.devices.lost_device import telling_lost_devices
from pytest_tvmtune.relax.devices.remote_machine import RemoteMachine
from pytest_tvmtune.relax.devices.rpc_connection import connect

_TVM_LIBRARIES = (
    "libtvm",
    "libtvm_ffi",
    "libtvm_runtime",
    "libtvm_compiler",
    "libtvm_runtime_extra",
)


@dataclass(frozen=True, kw_only=True)
class Request:
    """Where the device is. helper: for its architecture."""

    address: RpcAddress
    helper: Path
    wait_s: float


@dataclass(frozen=True, kw_only=True)
class Result:
    """What it is. fingerprint: with the versions of this process, which compiles for it.

    libraries: TVM's libraries there, by content; "" where that can't be known. ffi_version: of
    apache-tvm-ffi there. num_threads: of TVM's runtime, without a request.
    """

    fingerprint: Fingerprint
    libraries: str
    ffi_version: str
    num_threads: int


@telling_lost_devices
def run(request: Request, context: WorkerContext[None]) -> Result:
    """Connect to the device and ask what it is.

    Args:
        request: Where it is.
        context: Of this process.

    Returns:
        What it is.

    Raises:
        DeviceError: There is no such device, it doesn't become free, or it can't run the code.

    """
    session = connect(
        request.address,
        wait_s=request.wait_s,
        session_s=request.wait_s,
        on_wait=lambda text: context.enter_stage(JobStage(text)),
    )
    context.enter_stage(JobStage(f"asking {request.address} what it is"))
    machine = RemoteMachine(session, request.helper)
    system = str(machine.helper["uname"]())
    num_threads = machine.num_threads_used()
    model = cpu_model(machine.read_file("/proc/cpuinfo")) or "unknown CPU"
    here = fingerprint()
    if system != here.system:
        model = f"{model}, {system}"
    if request.address.key:
        model = f"{model} [{request.address.key}]"
    return Result(
        fingerprint=replace(here, cpu=model, usable_cores=num_threads, system=system),
        libraries=_libraries(machine),
        ffi_version=str(machine.helper["ffi_version"]()),
        num_threads=num_threads,
    )


def _libraries(machine: RemoteMachine) -> str:
    """Return TVM's libraries in the server's process, by content."""
    mapped = machine.read_file("/proc/self/maps").splitlines()
    paths = {line.split(maxsplit=5)[5] for line in mapped if "/libtvm" in line}
    found = {}
    for path in sorted(paths):
        name = path.rpartition("/")[2]
        if name.partition(".")[0] in _TVM_LIBRARIES:
            found[name] = f"{int(machine.helper['digest'](path)) % (1 << 64):016x}"
    return json.dumps(found, sort_keys=True) if found else ""


JOB = Job(run=run)
