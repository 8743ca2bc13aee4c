"""What a case came to: served while its tuning files are as they were, else nothing."""

from __future__ import annotations

import json
import os
import shutil
import time
import warnings
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pytest_tvmtune.core.results.task_result import TaskResult
from pytest_tvmtune.store.layout import Store, open_store
from pytest_tvmtune.store.tuning.cached_outcome import (
    CachedOutcome,
    FileVersions,
    file_versions,
    read_cached_outcome,
    write_cached_outcome,
)
from pytest_tvmtune.store.tuning.workload_files import (
    add_to_workload,
    read_workload,
    refuse_records,
)
from tests.support.sample_records import KEY, SHASH, path_of, put, record, served, workload
from tests.support.sample_store import contents

OTHER = "ff" * 8
WARM = CachedOutcome(
    build="ab" * 32,
    tasks=(
        TaskResult(name="fused_matmul", shash=SHASH, weight=2, state="tuned", trials=64,
                   valid_trials=60, best_s=1.5e-3, measured_on_other_cpu=True),
        TaskResult(name="relu", shash=OTHER, weight=1, state="failed", reason="it doesn't build"),
    ),
    left_out=("softmax",),
)  # fmt: skip
NOW: FileVersions = [[[1, 2, 3], None]]


def test_round_trip(store: Store) -> None:
    assert read_cached_outcome(store, "key", NOW) is None
    write_cached_outcome(store, "key", NOW, WARM)
    assert read_cached_outcome(store, "key", NOW) == WARM
    assert read_cached_outcome(store, "other", NOW) is None
    newer = replace(WARM, build="cd" * 32, tasks=(), left_out=())
    write_cached_outcome(store, "key", NOW, newer)
    assert read_cached_outcome(store, "key", NOW) == newer
    assert [path.name for path in store.cached_outcomes.iterdir()] == ["key.json"]


@pytest.mark.parametrize(
    "later",
    [
        [],
        [[None, [1, 2, 3]]],
        [[[1, 2, 4], None]],
        [[[1, 2, 3]]],
        [[[1, 2, 3], None, None]],
        [[[1, 2, 3], None], [[1, 2, 3], None]],
    ],
)
def test_it_says_nothing_once_a_version_differs(store: Store, later: FileVersions) -> None:
    write_cached_outcome(store, "key", NOW, WARM)
    before = contents(store.root)
    assert read_cached_outcome(store, "key", later) is None
    assert contents(store.root) == before


@pytest.fixture
def both(tmp_path: Path) -> Store:
    """A store with a fallback; each knows one of two workloads."""
    theirs = open_store(tmp_path / "theirs")
    own = open_store(tmp_path / "own", (theirs.root,))
    add_to_workload(own, KEY, workload(record(1e-3)))
    add_to_workload(theirs, KEY, workload(record(2e-3), shash=OTHER))
    return own


def test_it_says_nothing_while_a_workload_has_no_file_anywhere(store: Store) -> None:
    """A baseline may have its records."""
    nowhere: FileVersions = [[[1, 2, 3], None], [None, None]]
    write_cached_outcome(store, "key", nowhere, WARM)
    assert read_cached_outcome(store, "key", nowhere) is None
    write_cached_outcome(store, "key", [], WARM)
    assert read_cached_outcome(store, "key", []) == WARM


def now(store: Store) -> FileVersions:
    return file_versions(store, KEY, [SHASH, OTHER])


def theirs_of(store: Store) -> Store:
    return Store(root=store.fallbacks[0])


def test_there_is_a_version_for_each_workload_in_each_place(both: Store) -> None:
    found = now(both)
    assert [[one is not None for one in places] for places in found] == [
        [True, False],
        [False, True],
    ]
    assert file_versions(both, KEY, [OTHER, SHASH]) == found[::-1]
    assert file_versions(both, "other-key", [SHASH, OTHER]) == [[None, None], [None, None]]
    assert file_versions(both, KEY, []) == []


def remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink()


CHANGES: dict[str, Callable[[Store], Any]] = {
    "a record is added": lambda store: add_to_workload(store, KEY, workload(record(5e-4, "new"))),
    "a request is served": lambda store: add_to_workload(
        store, KEY, workload(served=(served(128, spent=0),))
    ),
    "a record is refused": lambda store: refuse_records(
        store, KEY, workload(), [record(1e-3)], "it doesn't build"
    ),
    "the fallback's is removed": lambda store: remove(path_of(theirs_of(store), OTHER)),
    "the fallback gets one": lambda store: add_to_workload(
        theirs_of(store), KEY, workload(record(9.0))
    ),
    "own is removed": lambda store: remove(path_of(store)),
    "the folder is removed": lambda store: remove(path_of(store).parent),
    "another is added": lambda store: add_to_workload(store, KEY, workload(shash=OTHER)),
    "it is damaged": lambda store: path_of(store).write_bytes(b"garbage\n"),
    "it is restored with its time": lambda store: restore(path_of(store)),
}  # fmt: skip


def restore(path: Path) -> None:
    """As a cache or an archive does: other bytes, the same size, under the old time."""
    before = path.stat()
    content = path.read_bytes().replace(b"fused", b"Fused")
    put(path.with_name("new"), content)
    os.utime(path.with_name("new"), ns=(before.st_atime_ns, before.st_mtime_ns))
    path.with_name("new").replace(path)


@pytest.mark.parametrize("change", CHANGES)
def test_every_change_of_a_tuning_file_voids_it(both: Store, change: str) -> None:
    write_cached_outcome(both, "key", now(both), WARM)
    assert read_cached_outcome(both, "key", now(both)) == WARM
    CHANGES[change](both)
    assert read_cached_outcome(both, "key", now(both)) is None


def test_reading_and_adding_nothing_new_leave_it_valid(both: Store) -> None:
    write_cached_outcome(both, "key", now(both), WARM)
    read_workload(both, KEY, SHASH)
    add_to_workload(both, KEY, workload(record(1e-3)))
    # Another workload is none of this case's business.
    add_to_workload(both, KEY, workload(shash="0" * 16))
    assert read_cached_outcome(both, "key", now(both)) == WARM


def test_a_fallback_in_another_place_in_the_order_voids_it(both: Store, tmp_path: Path) -> None:
    more = open_store(tmp_path / "more")
    add_to_workload(more, KEY, workload(record(3e-3)))
    roots = (*both.fallbacks, more.root)
    write_cached_outcome(both, "key", now(Store(root=both.root, fallbacks=roots)), WARM)
    for others in (both.fallbacks, (more.root,), roots[::-1]):
        assert (
            read_cached_outcome(both, "key", now(Store(root=both.root, fallbacks=others))) is None
        )
    assert read_cached_outcome(both, "key", now(Store(root=both.root, fallbacks=roots))) == WARM


SOUND = {"versions": NOW, "build": "ab" * 32, "tasks": [], "left_out": []}
DAMAGE = [
    b"", b"{", b"null", b"[]", b"5", b'"x"', b"{}", b"\xff\xfe\x80", b"[" * 100_000,
    b'{"a": ' * 100_000, b"9" * 5000, b"<<<<<<< HEAD\n",
    *(json.dumps({name: value for name, value in SOUND.items() if name != left}).encode()
      for left in SOUND),
    *(json.dumps({**SOUND, **wrong}).encode()
      for wrong in ({"tasks": 5}, {"tasks": [5]}, {"tasks": [{"name": "x"}]},
                    {"tasks": [{"surplus": 1}]}, {"left_out": None}, {"versions": 1})),
]  # fmt: skip


@pytest.mark.parametrize("content", DAMAGE)
def test_a_damaged_note_is_nothing_known_without_a_word(store: Store, content: bytes) -> None:
    path = put(store.cached_outcomes / "key.json", content)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert read_cached_outcome(store, "key", NOW) is None
    assert path.read_bytes() == content
    write_cached_outcome(store, "key", NOW, WARM)
    assert read_cached_outcome(store, "key", NOW) == WARM


def test_the_sound_note_that_the_damaged_ones_are_made_of_is_read(store: Store) -> None:
    put(store.cached_outcomes / "key.json", json.dumps(SOUND).encode())
    assert read_cached_outcome(store, "key", NOW) == replace(WARM, tasks=(), left_out=())


@pytest.mark.parametrize("build", ["../../precious", "", ".", 5, None])
def test_a_build_that_is_no_hash_is_damage(store: Store, build: object) -> None:
    put(store.cached_outcomes / "key.json", json.dumps({**SOUND, "build": build}).encode())
    assert read_cached_outcome(store, "key", NOW) is None


def test_reading_a_note_notes_that_it_is_used_a_void_one_does_not(store: Store) -> None:
    write_cached_outcome(store, "key", NOW, WARM)
    path = store.cached_outcomes / "key.json"
    os.utime(path, (1e9, 1e9))
    assert read_cached_outcome(store, "key", []) is None
    assert path.stat().st_mtime == 1e9
    before = time.time()
    read_cached_outcome(store, "key", NOW)
    assert path.stat().st_mtime >= before - 1


def test_a_note_that_can_not_be_touched_is_read_all_the_same(
    public_path: Path, unprivileged: Callable[[], AbstractContextManager[None]]
) -> None:
    store = Store(root=public_path)
    write_cached_outcome(store, "key", NOW, WARM)
    (store.cached_outcomes / "key.json").chmod(0o444)
    with unprivileged():
        assert read_cached_outcome(store, "key", NOW) == WARM
    (store.cached_outcomes / "key.json").chmod(0)
    with unprivileged():
        assert read_cached_outcome(store, "key", NOW) is None
