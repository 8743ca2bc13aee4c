"""A store whose locks hold on one machine only, and the machines that use it."""

from __future__ import annotations

import platform
from pathlib import Path

import pytest
from filelock import FileLock

from pytest_tvmtune.core.errors import StoreError
from pytest_tvmtune.machine.mounts import Mount, kernel_id
from pytest_tvmtune.store import layout
from pytest_tvmtune.store.layout import open_store
from pytest_tvmtune.store.locks import folder_lock, try_lock
from tests.support.sample_store import age, contents

OTHER = "01234567-89ab-cdef-0123-456789abcdef\nrunner-7\n"


def mounted(monkeypatch: pytest.MonkeyPatch, kind: str, *options: str) -> None:
    mount = Mount(point=Path("/"), kind=kind, options=frozenset(options))
    monkeypatch.setattr(layout, "mount_of", lambda folder: mount)


@pytest.fixture
def on_sshfs(monkeypatch: pytest.MonkeyPatch) -> None:
    mounted(monkeypatch, "fuse.sshfs")


@pytest.mark.usefixtures("on_sshfs")
def test_one_machine_uses_it_as_any_other_store(tmp_path: Path) -> None:
    for _ in range(2):
        store = open_store(tmp_path)
        assert store.machine.read_text() == f"{kernel_id()}\n{platform.node()}\n"


@pytest.mark.usefixtures("on_sshfs")
def test_a_second_machine_is_refused(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    store.machine.write_text(OTHER)
    before = contents(tmp_path)
    with pytest.raises(StoreError) as caught:
        open_store(tmp_path)
    assert str(caught.value) == (
        f"{tmp_path} is on fuse.sshfs, whose locks don't hold between machines, and runner-7 used "
        "it in the last 24 hours; mount it with locks, or give each machine its own store with "
        "--tvm-dir and merge them with `tvmtune db merge`; if no other machine uses it now, remove "
        f"{store.machine}"
    )
    assert contents(tmp_path) == before
    store.machine.unlink()
    open_store(tmp_path)


@pytest.mark.usefixtures("on_sshfs")
@pytest.mark.parametrize(
    "mark",
    [
        # Another container of this machine, and this machine before it was started again.
        f"{kernel_id()}\nanother-container\n",
        f"01234567-89ab-cdef-0123-456789abcdef\n{platform.node()}\n",
        "",
        "garbage",
    ],
)
def test_the_same_machine_is_not_refused(tmp_path: Path, mark: str) -> None:
    store = open_store(tmp_path)
    store.machine.write_text(mark)
    open_store(tmp_path)
    assert store.machine.read_text() == f"{kernel_id()}\n{platform.node()}\n"


@pytest.mark.usefixtures("on_sshfs")
def test_a_machine_that_used_it_days_ago_is_no_other_user(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    store.machine.write_text(OTHER)
    age(store.machine, 1.1)
    open_store(tmp_path)


@pytest.mark.parametrize(("kind", "options"), [("ext4", ()), ("nfs4", ("local_lock=none",))])
def test_where_locks_hold_machines_leave_no_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, options: tuple[str, ...]
) -> None:
    mounted(monkeypatch, kind, *options)
    store = open_store(tmp_path)
    assert not store.machine.exists()
    store.machine.parent.mkdir()
    store.machine.write_text(OTHER)
    open_store(tmp_path)


def test_where_no_file_system_is_known_nothing_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(layout, "mount_of", lambda folder: None)
    assert not open_store(tmp_path).machine.exists()


@pytest.mark.parametrize("error", [OSError(37, "No locks available"), NotImplementedError("flock")])
def test_a_file_system_without_locks_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def acquire(self: FileLock, **options: object) -> None:
        raise error

    monkeypatch.setattr(FileLock, "acquire", acquire)
    said = rf"can't lock .*folder\.lock: .*{error.args[-1]}; use a folder that you can write to, on"
    with pytest.raises(StoreError, match=said), folder_lock(tmp_path):
        pass
    with pytest.raises(StoreError, match=r"can't lock .*one\.lock"):
        try_lock(tmp_path / "one.lock")
