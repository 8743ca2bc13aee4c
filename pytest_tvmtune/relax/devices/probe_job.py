"""Job: what a device behind TVM RPC is."""

from __future__ import annotations

import ctypes
import json
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median

from pytest_tvmtune.core.clock import monotonic_s
from pytest_tvmtune.core.job_stage import JobStage
from pytest_tvmtune.core.settings.rpc_address import RpcAddress
from pytest_tvmtune.machine.fingerprint import Fingerprint, fingerprint
from pytest_tvmtune.machine.timing_hindrances import hindrances
from pytest_tvmtune.processes.job import Job, WorkerContext
from pytest_tvmtune.relax.devices.lost_device import telling_lost_devices
from pytest_tvmtune.relax.devices.machine import RANDOM_FILL
from pytest_tvmtune.relax.devices.remote_machine import RemoteMachine, device_cpu
from pytest_tvmtune.relax.devices.rpc_connection import connect, waiting_stage

_TVM_LIBRARY = "/libtvm"
_ROUND_TRIPS = 20
_MOST_S = 300.0


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
    apache-tvm-ffi there; own_ffi_version: here; both as its library says. num_threads: of TVM's
    runtime, without a request. round_trip_s: of the shortest call. hindrances: of measurements.
    has_random_fill: whether it has TVM's additional libraries.
    """

    fingerprint: Fingerprint
    libraries: str
    ffi_version: str
    own_ffi_version: str
    num_threads: int
    round_trip_s: float
    hindrances: tuple[str, ...]
    has_random_fill: bool


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
        session_s=_MOST_S,
        on_wait=lambda text: context.enter_stage(waiting_stage(request.address, text)),
    )
    context.enter_stage(JobStage(f"asking {request.address} what it is"))
    machine = RemoteMachine(session, request.helper)
    num_threads = machine.num_threads_used()
    return Result(
        fingerprint=_fingerprint(machine, request.address, num_threads),
        libraries=_libraries(machine),
        ffi_version=str(machine.helper["ffi_version"]()),
        own_ffi_version=_own_ffi_version(),
        num_threads=num_threads,
        round_trip_s=_round_trip_s(machine),
        hindrances=tuple(
            hindrances(machine.read_file, cores=range(num_threads), machine_cores=_cores(machine))
        ),
        has_random_fill=machine.function(RANDOM_FILL) is not None,
    )


def _fingerprint(machine: RemoteMachine, address: RpcAddress, num_threads: int) -> Fingerprint:
    return replace(
        fingerprint(),
        cpu=device_cpu(machine, address),
        usable_cores=num_threads,
        system=str(machine.helper["uname"]()),
    )


def _own_ffi_version() -> str:
    import tvm_ffi  # noqa: F401  it loads its library

    version = (ctypes.c_uint32 * 3)()
    ctypes.CDLL(None).TVMFFIGetVersion(version)
    return ".".join(map(str, version))


def _cores(machine: RemoteMachine) -> int:
    return max(1, machine.read_file("/proc/cpuinfo").count("processor\t:"))


def _libraries(machine: RemoteMachine) -> str:
    """Return TVM's libraries in the server's process, by content."""
    mapped = machine.read_file("/proc/self/maps").splitlines()
    paths = {line.split(maxsplit=5)[5] for line in mapped if _TVM_LIBRARY in line}
    found = {
        path.rpartition("/")[2]: f"{int(machine.helper['digest'](path)) % (1 << 64):016x}"
        for path in paths
    }
    return json.dumps(found, sort_keys=True) if found else ""


def _round_trip_s(machine: RemoteMachine) -> float:
    call, taken_s = machine.helper["stamp_count"], []
    for _ in range(_ROUND_TRIPS):
        started_s = monotonic_s()
        call()
        taken_s.append(monotonic_s() - started_s)
    return median(taken_s)


JOB = Job(run=run)
