"""Other stores whose records are read too: merged, never written to."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path

import pytest

from pytest_tvmtune.core.errors import StoreError
from pytest_tvmtune.store.layout import Store, open_store
from pytest_tvmtune.store.tuning.workload_files import (
    add_to_workload,
    drop_workload,
    read_workload,
    refuse_records,
    stored_keys,
)
from tests.support.sample_records import (
    HEAD,
    KEY,
    RECORD,
    SHASH,
    path_of,
    put,
    read_with_warnings,
    record,
    refusal,
    served,
    workload,
)

MINE = workload(record(2e-3, "mine"), served=(served(8),))
THEIRS = workload(
    record(1e-3, "theirs"), record(2e-3, "mine", cpu="other CPU"), served=(served(64),)
)


def snapshot(folder: Path) -> dict[Path, tuple[bytes, int]]:
    """Return the bytes and time of every file, and the time of every folder."""
    return {
        path: (path.read_bytes() if path.is_file() else b"", path.stat().st_mtime_ns)
        for path in [folder, *folder.rglob("*")]
    }


@pytest.fixture
def one(tmp_path: Path) -> Store:
    return open_store(tmp_path / "one")


@pytest.fixture
def both(tmp_path: Path, one: Store) -> Store:
    """A store with a fallback, which is `one`."""
    return open_store(tmp_path / "own", (one.root,))


def test_what_the_fallback_knows_is_found(both: Store, one: Store) -> None:
    assert read_workload(both, KEY, SHASH) is None
    add_to_workload(one, KEY, THEIRS)
    assert read_workload(both, KEY, SHASH) == THEIRS
    assert read_workload(both, "other-key", SHASH) is None


def test_what_both_know_is_merged(both: Store, one: Store) -> None:
    add_to_workload(one, KEY, replace(THEIRS, name="as they call it"))
    add_to_workload(both, KEY, MINE)
    found = read_workload(both, KEY, SHASH)
    assert found is not None
    assert [(r.mean_s, r.cpu) for r in found.records] == [
        (1e-3, "this CPU"), (2e-3, "other CPU"), (2e-3, "this CPU")
    ]  # fmt: skip
    assert found.served == (served(64), served(8))
    assert found.name == MINE.name
    assert found.is_enough(64, None)


def test_all_fallbacks_are_read(tmp_path: Path, one: Store) -> None:
    two = open_store(tmp_path / "two")
    add_to_workload(one, KEY, workload(record(1.0, "one")))
    add_to_workload(two, KEY, workload(record(2.0, "two")))
    found = read_workload(open_store(tmp_path / "own", (one.root, two.root)), KEY, SHASH)
    assert found is not None
    assert [r.mean_s for r in found.records] == [1.0, 2.0]


def test_a_record_refused_here_is_left_out_though_the_fallback_has_it(
    both: Store, one: Store
) -> None:
    add_to_workload(one, KEY, THEIRS)
    refuse_records(both, KEY, THEIRS, [record(1.0, "theirs")], "it doesn't build")
    found = read_workload(both, KEY, SHASH)
    assert found is not None
    assert [r.cpu for r in found.records] == ["other CPU"]
    assert found.refused == (refusal(record(1.0, "theirs")),)
    # Nothing of the fallback's was copied with it.
    own = read_workload(Store(root=both.root), KEY, SHASH)
    assert own == workload(refused=found.refused)


def test_a_record_refused_there_is_left_out_here(both: Store, one: Store) -> None:
    add_to_workload(one, KEY, workload(refused=(refusal(record(1.0, "mine")),)))
    add_to_workload(both, KEY, MINE)
    found = read_workload(both, KEY, SHASH)
    assert found is not None
    assert found.records == ()


def test_a_fallback_is_never_written_to(both: Store, one: Store) -> None:
    add_to_workload(one, KEY, THEIRS)
    put(path_of(one, "ff" * 8), b"damaged\n")
    before = snapshot(one.root)
    read_workload(both, KEY, SHASH)
    read_with_warnings(both, "ff" * 8)
    whole = add_to_workload(both, KEY, MINE)
    refuse_records(both, KEY, whole, [record(1.0, "theirs")], "why")
    assert not drop_workload(both, KEY, "ff" * 8, "why")
    with pytest.warns(UserWarning, match="was renamed to"):
        assert drop_workload(both, KEY, SHASH, "why")
    assert snapshot(one.root) == before
    # What is added says only what this store knows.
    assert whole == MINE
    assert list(stored_keys(both)) == []
    assert read_workload(both, KEY, SHASH) == THEIRS


def test_a_read_only_fallback_is_read(
    public_path: Path, unprivileged: Callable[[], AbstractContextManager[None]]
) -> None:
    theirs, own = open_store(public_path / "theirs"), public_path / "own"
    add_to_workload(theirs, KEY, THEIRS)
    for path in (theirs.root, *theirs.root.rglob("*")):
        path.chmod(0o555 if path.is_dir() else 0o444)
    own.mkdir()
    own.chmod(0o777)
    with unprivileged():
        store = open_store(own, (theirs.root,))
        assert read_workload(store, KEY, SHASH) == THEIRS
        add_to_workload(store, KEY, MINE)
        found = read_workload(store, KEY, SHASH)
    assert found is not None
    assert len(found.records) == 3


def test_a_damaged_file_of_a_fallback_is_left_as_it_is_its_valid_lines_used(
    both: Store, one: Store
) -> None:
    path = put(path_of(one), HEAD + RECORD + b"garbage\n")
    before = snapshot(one.root)
    for _ in range(2):
        found, said = read_with_warnings(both)
        assert found == workload(record(1e-3))
        assert said == [
            f"tuning store: {path} is damaged (line 3: not a line of a tuning file) and is not used"
        ]
    assert snapshot(one.root) == before


def test_a_fallbacks_file_that_can_not_be_read_is_one_warning(
    public_path: Path, unprivileged: Callable[[], AbstractContextManager[None]]
) -> None:
    theirs, own = open_store(public_path / "theirs"), open_store(public_path / "own")
    add_to_workload(theirs, KEY, THEIRS)
    path_of(theirs).chmod(0)
    store = Store(root=own.root, fallbacks=(theirs.root,))
    with unprivileged():
        found, said = read_with_warnings(store)
    assert found is None
    assert said == [f"tuning store: can't read {path_of(theirs)}: Permission denied"]


@pytest.mark.parametrize("kind", ["missing", "file"])
def test_a_fallback_that_is_no_folder_is_an_error_that_names_the_option(
    tmp_path: Path, one: Store, kind: str
) -> None:
    path = tmp_path / "fallback"
    if kind == "file":
        path.write_text("x")
    with pytest.raises(StoreError) as caught:
        open_store(tmp_path / "own", (one.root, path))
    assert str(caught.value).startswith(f"--tvm-store-fallback: {path} is not a folder; give ")
    # Found before anything is made.
    assert not (tmp_path / "own").exists()


def test_a_fallback_that_goes_meanwhile_is_nothing_known(both: Store, one: Store) -> None:
    shutil.rmtree(one.root)
    assert read_with_warnings(both) == (None, [])
    assert not one.root.exists()
