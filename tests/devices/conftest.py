"""Devices: real servers on loopback, and the emulated one, where it has been made."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pytest_tvmtune.core.settings.rpc_address import RpcAddress
from pytest_tvmtune.store.layout import Store, open_store
from tests.devices.emulated import why_missing
from tests.support import ROOT
from tests.support.cases import opener
from tests.support.locks import cores_of_the_machine, cores_of_this_worker  # noqa: F401
from tests.support.modules import OpenCase
from tests.support.preloaded_python import preloaded_jobs, preloaded_python  # noqa: F401
from tests.support.rpc_servers import devices


@pytest.fixture(scope="session")
def device_folder() -> Path:
    """Return the folder of the emulated aarch64 device, or skip the test."""
    folder = ROOT / ".devices" / "aarch64"
    reason = why_missing(folder)
    if reason:
        # Set by the gate, which makes the device: there the tests must not be skipped.
        is_required = os.environ.get("TVMTUNE_TEST_DEVICES") == "required"
        (pytest.fail if is_required else pytest.skip)(reason)
    return folder


@pytest.fixture(scope="module")
def two_devices() -> Iterator[RpcAddress]:
    """Return the address of a tracker with two servers."""
    with devices("x86", 2) as address:
        yield address


@pytest.fixture
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return open_store(tmp_path_factory.mktemp("devices") / "store")


@pytest.fixture
def on_device(store: Store, two_devices: RpcAddress) -> OpenCase:
    """Return what opens a case on the two devices, as `opener` does."""

    def opened(mod: Any, *, settings: dict[str, Any] | None = None, **more: Any) -> Any:
        return opener(store)(mod, settings={"rpc": str(two_devices), **(settings or {})}, **more)

    return opened
