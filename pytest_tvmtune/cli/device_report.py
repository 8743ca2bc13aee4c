"""The checks of `tvmtune doctor --rpc`: a device behind TVM RPC."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from pytest_tvmtune.cli.machine_report import Finding, Gating, measure_noise
from pytest_tvmtune.core.errors import TvmTuneError, counted
from pytest_tvmtune.core.settings.rpc_address import RpcAddress
from pytest_tvmtune.core.settings.target_spec import TargetSpec
from pytest_tvmtune.store.layout import Store, open_store

_WAIT_S = 30.0
# A call that takes longer isn't measured worse, but a decision of many calls takes longer.
_SLOW_ROUND_TRIP_S = 0.01


@dataclass(frozen=True, kw_only=True)
class DeviceToExamine:
    """A device. cross_compiler: the command that links for it, "" to find one by the triple."""

    address: RpcAddress
    target: TargetSpec
    cross_compiler: str


def examine_device(device: DeviceToExamine, gating: Gating) -> Iterator[Finding]:
    """Yield the findings, the quick checks first. It leaves no files here or there."""
    with tempfile.TemporaryDirectory(prefix="tvmtune-doctor-") as temporary:
        store = open_store(Path(temporary))
        try:
            yield from _examined(device, gating, store)
        except TvmTuneError as error:
            yield Finding(name="device", state="problem", text=str(error).partition("\nlog:")[0])


def _examined(device: DeviceToExamine, gating: Gating, store: Store) -> Iterator[Finding]:
    from pytest_tvmtune.relax.devices.cross_compiler import compiler_for
    from pytest_tvmtune.relax.devices.targets import canonical, resolve_target
    from pytest_tvmtune.stages.devices.known_devices import ask_device

    target_json = canonical(resolve_target(device.target))
    compiler = compiler_for(target_json, device.cross_compiler)
    yield Finding(name="compiler", state="ok", text=compiler or "this machine's own")
    _, found = ask_device(device.address, compiler, store, _WAIT_S)
    is_slow = found.round_trip_s > _SLOW_ROUND_TRIP_S
    yield Finding(
        name="connection",
        state="note" if is_slow else "ok",
        text=f"{device.address} answers in {1e3 * found.round_trip_s:.2f} ms",
    )
    there = found.fingerprint
    cores = f"TVM uses {counted(found.num_threads, 'thread')} of {there.cpu}; {there.system}"
    yield Finding(name="CPU", state="ok", text=cores)
    versions = f"apache-tvm-ffi {found.ffi_version} there, {found.own_ffi_version} here"
    same = found.ffi_version == found.own_ffi_version
    yield Finding(name="versions", state="ok" if same else "note", text=versions)
    for one in found.hindrances:
        yield Finding(name="in the way", state="note", text=one)
    if not found.hindrances:
        yield Finding(name="in the way", state="ok", text="none that its system reports")
    if not found.has_random_fill:
        text = "the server lacks TVM's additional libraries; tuning sends its data from here"
        yield Finding(name="tuning", state="note", text=text)
    given = {"rpc": device.address, "cross_compiler": device.cross_compiler or None}
    yield from measure_noise(store, gating, given, device.target.given)
