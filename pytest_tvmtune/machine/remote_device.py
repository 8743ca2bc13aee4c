"""A device behind TVM RPC, as far as it is known without asking it again."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from pytest_tvmtune.core.settings.rpc_address import RpcAddress
from pytest_tvmtune.machine.fingerprint import Fingerprint


@dataclass(frozen=True, kw_only=True)
class RemoteDevice:
    """A device that code can be run on.

    compiler: the command that links libraries for it, "" for this machine's own. helper: the
    native helper that is loaded next to each library. libraries: TVM's libraries there, by
    content; "" where that isn't known. num_threads: of TVM's runtime, without a request. wait_s:
    how long a job waits until it is free. session_s: what a job may take there, after which the
    server ends its session.
    """

    address: RpcAddress
    compiler: str
    helper: Path
    fingerprint: Fingerprint
    libraries: str
    num_threads: int
    wait_s: float
    session_s: float
