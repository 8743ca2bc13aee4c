"""Stage: what the device of a case is; asked once in a process."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

from pytest_tvmtune.core.errors import MissingDeviceError, OptionError
from pytest_tvmtune.core.settings.options import CaseOptions
from pytest_tvmtune.core.settings.rpc_address import RpcAddress
from pytest_tvmtune.machine.remote_device import RemoteDevice
from pytest_tvmtune.processes.job import JobContext
from pytest_tvmtune.relax.devices import probe_job
from pytest_tvmtune.relax.devices.cross_compiler import compiler_for
from pytest_tvmtune.relax.devices.helper_library import build_helper
from pytest_tvmtune.relax.devices.targets import canonical, device_kind, resolve_target
from pytest_tvmtune.stages.devices.device_job import run_where_a_device_is
from pytest_tvmtune.store.layout import Store

# Beyond what a test may wait for and what its model may take.
_MARGIN_S = 300.0
_EXAMPLE = "llvm -mtriple=aarch64-linux-gnu -mcpu=cortex-a72"


def known_device(options: CaseOptions, store: Store) -> RemoteDevice:
    """Return the device that a case runs on.

    Raises:
        OptionError: The target is none for a device.
        LackingError: There is no compiler for the device.
        DeviceError: There is no such device, it doesn't become free, or it can't run the code.

    """
    assert options.rpc is not None
    compiler = check_device_target(options)
    found = _device(options.rpc, compiler, store, options.timeout_s, options.max_time_s)
    if isinstance(found, MissingDeviceError):
        raise found
    return found


def check_device_target(options: CaseOptions) -> str:
    """Return the compiler for a device, as `cross_compiler.compiler_for` does.

    Raises:
        OptionError: The target is this machine's own CPU, or none that runs on a CPU.
        LackingError: There is no compiler for the device.

    """
    target = options.target
    if target.is_host:
        raise OptionError(
            f"target 'host' is the CPU of this machine, not of the device {options.rpc}; give the "
            f"device's own, for example {_EXAMPLE!r}"
        )
    resolved = resolve_target(target)
    if device_kind(resolved) != "cpu":
        raise OptionError(
            f"target {target.given!r}: models run on the CPUs of devices behind TVM RPC, and on "
            f"nothing else yet; give a CPU target, for example {_EXAMPLE!r}"
        )
    return compiler_for(canonical(resolved), options.cross_compiler or "")


@lru_cache(maxsize=16)
def _device(
    address: RpcAddress, compiler: str, store: Store, timeout_s: float, max_time_s: float
) -> RemoteDevice | MissingDeviceError:
    """Return a device, or why there is none: not every test waits for one that is missing."""
    try:
        helper, found = ask_device(address, compiler, store, timeout_s)
    except MissingDeviceError as error:
        return error
    return RemoteDevice(
        address=address,
        compiler=compiler,
        helper=helper,
        fingerprint=found.fingerprint,
        libraries=found.libraries,
        num_threads=found.num_threads,
        wait_s=timeout_s,
        session_s=2 * timeout_s + 10 * max_time_s + _MARGIN_S,
    )


def ask_device(
    address: RpcAddress, compiler: str, store: Store, wait_s: float
) -> tuple[Path, probe_job.Result]:
    """Return the helper for a device, and a description of the device.

    Args:
        address: Where it is.
        compiler: As `cross_compiler.compiler_for` returns it.
        store: Where the helper is kept.
        wait_s: How long to wait until the device is free.

    Raises:
        LackingError: The compiler can't build the helper.
        DeviceError: There is no such device, it doesn't become free, or it can't run the code.

    """
    helper = build_helper(store.device_helpers, compiler)
    context = JobContext(
        scratch=store.scratch,
        log_path=store.logs / "device.log",
        timeout_s=wait_s + _MARGIN_S,
        num_threads=1,
    )
    request = probe_job.Request(address=address, helper=helper, wait_s=wait_s)
    return helper, run_where_a_device_is(probe_job.JOB, request, context)
