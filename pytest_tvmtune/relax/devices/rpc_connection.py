"""Connecting to a device: a TVM RPC server, alone or through a tracker."""

from __future__ import annotations

import socket
import struct
import time
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from typing import Any

from pytest_tvmtune.core.clock import monotonic_s
from pytest_tvmtune.core.error_text import cause_of
from pytest_tvmtune.core.errors import DeviceError
from pytest_tvmtune.core.settings.rpc_address import RpcAddress
from pytest_tvmtune.processes.forking import Socket

# How long a tracker, a server, or a first device of a key may be missing: some seconds pass while
# one is started again.
MISSING_S = 30.0
_RETRY_S = 0.5


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
        session_s: After so long the server ends the session, whatever it does then.
        on_wait: Is called with what it is waited for.

    Raises:
        DeviceError: There is no such device, or it doesn't become free.

    """
    if not address.is_tracker:
        on_wait(f"waiting for the device {address}")
        return _connect((address.host, address.port, ""), address, session_s)
    deadline_s = monotonic_s() + wait_s
    while True:
        server = _request(address, deadline_s, on_wait)
        try:
            return _connect(server, address, session_s, patience_s=0.0)
        except DeviceError:
            # A server that died since it told the tracker of itself: the next one, then.
            if monotonic_s() > deadline_s:
                raise
            time.sleep(_RETRY_S)


def count_devices(address: RpcAddress) -> int:
    """Return how many devices there are. Raises DeviceError where no tracker answers."""
    if not address.is_tracker:
        return 1
    with closing(_tracker(address)) as tracker:
        return _devices(tracker)[address.key]


def _request(
    address: RpcAddress, deadline_s: float, on_wait: Callable[[str], None]
) -> tuple[str, int, str]:
    """Return the host, the port, and the key of a device that the tracker reserves."""
    from tvm.rpc import base

    missing_until_s = min(deadline_s, monotonic_s() + MISSING_S)
    while True:
        tracker = _tracker(address)
        with closing(tracker):
            known = _devices(tracker)
            if not known[address.key]:
                if monotonic_s() > missing_until_s:
                    others = ", ".join(f"{key} ({count})" for key, count in sorted(known.items()))
                    raise DeviceError(
                        f"{address}: the tracker has no device with the key {address.key!r}; "
                        f"it has {others or 'none'}"
                    )
                on_wait(f"waiting for a device with the key {address.key!r} at {address}")
                time.sleep(_RETRY_S)
                continue
            on_wait(f"waiting for one of {known[address.key]} devices {address} to be free")
            try:
                base.sendjson(tracker, [base.TrackerCode.REQUEST, address.key, "", 1])
                tracker.settimeout(max(_RETRY_S, deadline_s - monotonic_s()))
                code, found = base.recvjson(tracker)
            except TimeoutError:
                raise DeviceError(
                    f"{address}: none of {known[address.key]} devices became free; a higher "
                    "timeout (--tvm-timeout=SECONDS) waits longer"
                ) from None
            except OSError:
                continue  # the tracker was started again
            if code == base.TrackerCode.SUCCESS:
                return str(found[0]), int(found[1]), str(found[2])


def _tracker(address: RpcAddress) -> Socket:
    """Return a connection to the tracker."""
    from tvm.rpc import base

    missing_until_s = monotonic_s() + MISSING_S
    while True:
        try:
            connection = socket.create_connection((address.host, address.port), MISSING_S)
            connection.sendall(struct.pack("<i", base.RPC_TRACKER_MAGIC))
            (magic,) = struct.unpack("<i", base.recvall(connection, 4))
        except socket.gaierror as error:
            raise DeviceError(f"{address}: unknown host {address.host!r} ({error})") from None
        except OSError as error:
            if monotonic_s() > missing_until_s:
                raise DeviceError(
                    f"{address}: no tracker answers there ({error.strerror or error}); start one "
                    f"with python -m tvm.exec.rpc_tracker --port={address.port}"
                ) from None
            time.sleep(_RETRY_S)
            continue
        if magic != base.RPC_TRACKER_MAGIC:
            raise DeviceError(
                f"{address}: this isn't a tracker; for a server give HOST:PORT, without a key"
            )
        return connection


def _devices(tracker: Socket) -> Counter[str]:
    """Return how many devices the tracker has, by key."""
    from tvm.rpc import base

    base.sendjson(tracker, [base.TrackerCode.SUMMARY])
    _, summary = base.recvjson(tracker)
    return Counter(one["key"].removeprefix("server:") for one in summary["server_info"])


def _connect(
    server: tuple[str, int, str],
    address: RpcAddress,
    session_s: float,
    patience_s: float = MISSING_S,
) -> Any:
    from tvm import rpc

    missing_until_s = monotonic_s() + patience_s
    while True:
        try:
            return rpc.connect(*server, session_timeout=session_s)
        except Exception as error:
            if monotonic_s() > missing_until_s:
                raise DeviceError(
                    f"{address}: no TVM RPC server answers at {server[0]}:{server[1]} "
                    f"({cause_of(error)})"
                ) from error
            time.sleep(_RETRY_S)
