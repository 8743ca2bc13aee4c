"""Small files that save work: served when whole, set aside when damaged."""

from __future__ import annotations

import multiprocessing
import os
import time
import warnings
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pytest_tvmtune.core.json_codec import to_json_values
from pytest_tvmtune.core.results.task_result import Task
from pytest_tvmtune.store.builds import (
    Build,
    Plan,
    build_of,
    key_of,
    load_build,
    load_plan,
    read_build,
    read_plan,
    write_build,
    write_plan,
)
from pytest_tvmtune.store.layout import Store

BUILD = Build(library="ab" * 32, applied=("0" * 16, "f" * 16), compile_s=1.5)
PLAN = Plan(
    model="test_mlp[llvm]",
    target_key="llvm-tvm0.27-0123456789ab",
    prepack=True,
    tasks=(
        Task(name="fused_matmul", shash="0" * 16, weight=2, flop=1e6),
        Task(name="relu", shash="f" * 16, weight=1),
    ),
)


def test_builds_round_trip(store: Store) -> None:
    assert read_build(store, "key") is None
    write_build(store, "key", BUILD)
    assert read_build(store, "key") == BUILD
    assert read_build(store, "other") is None
    ran = replace(BUILD, ran_with=("a", "b"))
    write_build(store, "key", ran)
    assert read_build(store, "key") == ran
    assert load_build(store.builds / "key.json") == ran


def test_a_build_from_before_its_cpu_was_kept_is_one() -> None:
    loaded = to_json_values(BUILD)
    del loaded["compiled_on"]
    assert build_of(loaded) == BUILD


def test_reading_a_build_notes_that_it_is_used_loading_it_does_not(store: Store) -> None:
    write_build(store, "key", BUILD)
    path = store.builds / "key.json"
    os.utime(path, (1e9, 1e9))
    load_build(path)
    assert path.stat().st_mtime == 1e9
    before = time.time()
    read_build(store, "key")
    assert path.stat().st_mtime >= before - 1


def test_a_build_that_can_not_be_touched_is_read_all_the_same(
    public_path: Path, unprivileged: Callable[[], AbstractContextManager[None]]
) -> None:
    store = Store(root=public_path)
    write_build(store, "key", BUILD)
    (store.builds / "key.json").chmod(0o444)
    with unprivileged():
        assert read_build(store, "key") == BUILD


def test_plans_round_trip_in_order(store: Store) -> None:
    assert read_plan(store, "key") is None
    write_plan(store, "key", PLAN)
    assert read_plan(store, "key") == PLAN
    assert load_plan(store.plans / "key.json") == PLAN
    empty = replace(PLAN, tasks=(), prepack=False)
    write_plan(store, "key", empty)
    assert read_plan(store, "key") == empty


def test_builds_and_plans_do_not_mix(store: Store) -> None:
    write_plan(store, "key", PLAN)
    assert read_build(store, "key") is None
    write_build(store, "key", BUILD)
    assert read_plan(store, "key") == PLAN


def test_a_key_depends_on_every_value_but_not_on_the_order_of_names() -> None:
    key = key_of({"a": 1, "b": [1, 2]})
    assert key == key_of({"b": [1, 2], "a": 1})
    others = [{"a": 1, "b": [2, 1]}, {"a": 2, "b": [1, 2]}, {"a": "1", "b": [1, 2]}, {"a": 1}]
    assert len({key, *map(key_of, others)}) == 5
    assert len(key) == 64


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[]", b"5", b'"x"', b"{}", b'{"tasks": 5}', b'{"tasks": ["x"]}',
                b'{"tasks": [{"name": "x"}]}', b'{"library": "x", "applied": 5, "compile_s": 1}',
                b'{"tasks": []}', b'{"applied": []}', b'{"applied": [], "ran_with": []}',
                b"\x00\xff\xfe", b'{"library": "x"'],
)  # fmt: skip
@pytest.mark.parametrize("kind", ["builds", "plans"])
def test_a_damaged_file_is_set_aside_with_one_warning_that_names_it(
    store: Store, kind: str, content: bytes
) -> None:
    folder = store.root / kind
    folder.mkdir()
    (folder / "key.json").write_bytes(content)
    read: Any = read_build if kind == "builds" else read_plan
    with pytest.warns(UserWarning, match=r"key\.json is damaged") as caught:
        assert read(store, "key") is None
    assert len(caught) == 1
    assert str(folder / "key.json.damaged") in str(caught[0].message)
    assert (folder / "key.json.damaged").read_bytes() == content
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert read(store, "key") is None


WRONG = [
    ("builds", b'{"library": 5, "applied": [], "compile_s": 1.0, "ran_with": []}'),
    ("builds", b'{"library": "../../x", "applied": [], "compile_s": 1.0, "ran_with": []}'),
    ("builds", b'{"library": "", "applied": [], "compile_s": 1.0, "ran_with": []}'),
    ("builds", b"[" * 100_000),
    ("plans", b'{"model": 5, "target_key": "k", "prepack": true, "tasks": []}'),
    ("plans", b'{"model": "m", "target_key": "../k", "prepack": true, "tasks": []}'),
]


@pytest.mark.parametrize(("kind", "content"), WRONG)
def test_values_that_can_not_be_are_damage_too(store: Store, kind: str, content: bytes) -> None:
    (store.root / kind).mkdir()
    (store.root / kind / "key.json").write_bytes(content)
    read: Any = read_build if kind == "builds" else read_plan
    with pytest.warns(UserWarning, match=r"key\.json is damaged"):
        assert read(store, "key") is None


def read_all(root: Path, count: int, barrier: Any) -> None:
    """In its own process: read files that other processes read and set aside meanwhile."""
    warnings.simplefilter("ignore")
    barrier.wait(60)
    for number in range(count):
        assert read_build(Store(root=root), f"key{number}") is None


def test_processes_that_find_the_same_damage_do_not_trip_over_each_other(store: Store) -> None:
    count, readers = 300, 3
    store.builds.mkdir()
    for number in range(count):
        (store.builds / f"key{number}.json").write_text("{")
    context = multiprocessing.get_context("spawn")
    barrier = context.Barrier(readers)
    processes = [
        context.Process(target=read_all, args=(store.root, count, barrier)) for _ in range(readers)
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
    assert [process.exitcode for process in processes] == [0] * readers
    assert len(list(store.builds.glob("*.damaged"))) == count
