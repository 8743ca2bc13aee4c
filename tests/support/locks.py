"""Fixtures: the machine's cores are waited for by those tests alone that time something."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from pytest_tvmtune.store.locks import FOLDER_VARIABLE

__all__ = ["cores_of_the_machine", "cores_of_this_worker"]


@pytest.fixture(scope="module", autouse=True)
def cores_of_this_worker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Let no test wait for what another worker, or another checkout, measures."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv(FOLDER_VARIABLE, str(tmp_path_factory.getbasetemp()))
        yield


@pytest.fixture(autouse=True)
def cores_of_the_machine(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, cores_of_this_worker: None
) -> None:
    """Let those marked `timed` wait for each other."""
    if request.node.get_closest_marker("timed"):
        monkeypatch.delenv(FOLDER_VARIABLE)
