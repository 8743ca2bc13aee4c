"""Cases on devices: real servers on loopback, in processes of their own."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from pytest_tvmtune.core.settings.rpc_address import RpcAddress
from tests.support.locks import cores_of_the_machine, cores_of_this_worker  # noqa: F401
from tests.support.preloaded_python import preloaded_jobs, preloaded_python  # noqa: F401
from tests.support.rpc_servers import devices


@pytest.fixture(scope="module")
def two_devices() -> Iterator[RpcAddress]:
    """Return the address of a tracker with two servers."""
    with devices("x86", 2) as address:
        yield address
