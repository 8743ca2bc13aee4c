"""Connecting to a device: a TVM RPC server, alone or through a tracker."""

from __future__ import annotations

import socket
import struct
import time
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from typing import Any

from pytest_tvmtune.core.clock import monotonic_s
from pytest_tvmtune.core.error_text import cause_of
from pytest_tvmtune.core.errors import DeviceError, MissingDeviceError, all_of, counted
from pytest_tvmtune.core.job_stage import JobStage
from pytest_tvmtune.core.settings.rpc_address import RpcAddress
from pytest_tvmtune.processes.forking import Socket

# How long a tracker, a server, or a first device of a key may be missing: some seconds pass while
# one is started again.
MISSING_S = 30.0
_RETRY_S = 0.5
_CONNECTING = "connecting to"


def connect(
    address: RpcAddress,
    *,
    wait_s: float,
    session_s: float,
    on_wait: Callable[[str], None] = lambda _: None,
) -> Any:
    """Return a session of a device, as `tvm.rpc.RPCSession`.

    A device has one session at a time. The session ends with this process, at the latest.

    Args:
        address: Where the device is.
        wait_s: How long to wait until it is free.
        session_s: After so long the server ends the session, also during a call.
        on_wait: Is called with a text that names the device to wait for.

    Raises:
        DeviceError: There is no such device, or it doesn't become free.

    """
    wait = _Wait(until_s=monotonic_s() + wait_s, missing_until_s=monotonic_s() + MISSING_S)
    if not address.is_tracker:
        on_wait(f"waiting for the device {address}")
        return _connect((address.host, address.port, ""), address, session_s, wait)
    while True:
        server = _request(address, wait, on_wait)
        on_wait(f"{_CONNECTING} {server[0]}:{server[1]}")
        try:
            return _connect(server, address, session_s, _Wait(until_s=0.0, missing_until_s=0.0))
        except DeviceError:
            # A server that died since it told the tracker of itself: the next one, then.
            if wait.is_over:
                raise
            time.sleep(_RETRY_S)


def waiting_stage(address: RpcAddress, text: str) -> JobStage:
    """Return the stage of a job that waits for a device.

    A tracker says when the time is over. Nothing does where a server is in use: TVM's client waits
    for its answer, so the stage has the time-out.
    """
    is_waiting = address.is_tracker and not text.startswith(_CONNECTING)
    return JobStage(text, "waiting" if is_waiting else "other")


def count_devices(address: RpcAddress, *, wait_s: float) -> int:
    """Return how many devices there are. Raises DeviceError where no tracker answers."""
    if not address.is_tracker:
        return 1
    now_s = monotonic_s()
    wait = _Wait(until_s=now_s + wait_s, missing_until_s=now_s + MISSING_S)
    tracker, known = _tracker(address, wait)
    tracker.close()
    return known[address.key]


@dataclass(frozen=True, kw_only=True)
class _Wait:
    """Until when to wait for a device that is taken, and for one that isn't there."""

    until_s: float
    missing_until_s: float

    @property
    def is_over(self) -> bool:
        return monotonic_s() > self.until_s

    @property
    def is_missing_too_long(self) -> bool:
        return monotonic_s() > min(self.until_s, self.missing_until_s)


def _request(
    address: RpcAddress, wait: _Wait, on_wait: Callable[[str], None]
) -> tuple[str, int, str]:
    """Return the host, the port, and the key of a device that the tracker reserves."""
    from tvm.rpc import base

    while True:
        tracker, known = _tracker(address, wait)
        with closing(tracker):
            count = known[address.key]
            if not count:
                if wait.is_missing_too_long:
                    raise MissingDeviceError(_no_such_key(address, known))
                on_wait(f"waiting for a device with the key {address.key!r} at {address}")
                time.sleep(_RETRY_S)
                continue
            on_wait(f"waiting for one of {counted(count, 'device')} at {address} to be free")
            try:
                base.sendjson(tracker, [base.TrackerCode.REQUEST, address.key, "", 1])
                tracker.settimeout(max(_RETRY_S, wait.until_s - monotonic_s()))
                code, found = base.recvjson(tracker)
            except TimeoutError:
                raise DeviceError(
                    f"{address}: {all_of(count, 'device')} stayed in use; to wait longer, use "
                    "--tvm-timeout=SECONDS"
                ) from None
            except OSError:
                continue  # the tracker was started again
            if code == base.TrackerCode.SUCCESS:
                return str(found[0]), int(found[1]), str(found[2])


def _no_such_key(address: RpcAddress, known: Counter[str]) -> str:
    others = ", ".join(f"{key} ({count})" for key, count in sorted(known.items()))
    return (
        f"{address}: the tracker has no device with the key {address.key!r}; it has "
        f"{others or 'no devices'}"
    )


def _tracker(address: RpcAddress, wait: _Wait) -> tuple[Socket, Counter[str]]:
    """Return a connection to the tracker, and how many devices it has, by key."""
    from tvm.rpc import base

    while True:
        try:
            connection = socket.create_connection((address.host, address.port), MISSING_S)
            connection.sendall(struct.pack("<i", base.RPC_TRACKER_MAGIC))
            (magic,) = struct.unpack("<i", base.recvall(connection, 4))
            known = _devices(connection) if magic == base.RPC_TRACKER_MAGIC else Counter[str]()
        except socket.gaierror as error:
            raise MissingDeviceError(
                f"{address}: unknown host {address.host!r} ({error})"
            ) from None
        except OSError as error:
            if wait.is_missing_too_long:
                raise MissingDeviceError(
                    f"{address}: no tracker answers there ({error.strerror or error}); start one "
                    "with python -m tvm.exec.rpc_tracker --host=127.0.0.1 "
                    f"--port={address.port}; for a server without a tracker give HOST:PORT, "
                    "without a key"
                ) from None
            time.sleep(_RETRY_S)
            continue
        if magic != base.RPC_TRACKER_MAGIC:
            raise MissingDeviceError(
                f"{address}: a server answers there, not a tracker; give HOST:PORT, without a key"
            )
        return connection, known


def _devices(tracker: Socket) -> Counter[str]:
    """Return how many devices the tracker has, by key."""
    from tvm.rpc import base

    base.sendjson(tracker, [base.TrackerCode.SUMMARY])
    _, summary = base.recvjson(tracker)
    found = Counter[str]()
    for one in summary["server_info"]:
        # A proxy has several: `server:proxy[a,b]`.
        name = one["key"].removeprefix("server:")
        keys = name.removeprefix("proxy[").removesuffix("]").split(",")
        found.update(keys if name.startswith("proxy[") else [name])
    return found


def _connect(
    server: tuple[str, int, str], address: RpcAddress, session_s: float, wait: _Wait
) -> Any:
    from tvm import rpc

    while True:
        try:
            return rpc.connect(*server, session_timeout=session_s)
        except Exception as error:
            if "cannot find server that matches key" in str(error):
                raise MissingDeviceError(
                    f"{address}: the server has a key; give its tracker and the key: HOST:PORT/KEY"
                ) from None
            if wait.is_missing_too_long:
                raise MissingDeviceError(
                    f"{address}: no TVM RPC server answers at {server[0]}:{server[1]} "
                    f"({cause_of(error)})"
                ) from error
            time.sleep(_RETRY_S)
