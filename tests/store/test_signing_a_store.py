"""Signing a whole store, as `tvmtune db sign` does: for whoever trusts what is there."""

from __future__ import annotations

import multiprocessing
import shutil
import warnings
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import pytest

from pytest_tvmtune.core.errors import StoreError
from pytest_tvmtune.store.accepted.baseline_files import read_records, records_path
from pytest_tvmtune.store.builds import read_build
from pytest_tvmtune.store.layout import Store, open_store
from pytest_tvmtune.store.signing.sign_again import sign_store
from pytest_tvmtune.store.tuning.workload_files import add_to_workload, read_workload
from tests.store.sample_signed import (
    DIGEST,
    KINDS,
    KNOWN,
    OTHER,
    SIGNED,
    UseKey,
    assert_refused,
    refusal_of,
    text_of,
    write_text_of,
)
from tests.support.sample_records import KEY, SHASH, add_many, line, path_of, put, record, workload
from tests.support.sample_store import (
    IDENTITY,
    RECORDS,
    contents,
    put_artifact,
    put_build,
    put_case,
    put_plan,
)


def fill(store: Store) -> Store:
    for name in SIGNED:
        KINDS[name].put(store)
    add_to_workload(store, "cuda-tvm0.27-0", workload(record(1.0), shash=OTHER))
    put_plan(store, "mlp")
    return store


@pytest.fixture
def full(store: Store) -> Store:
    """A store with something of each kind that is signed, and a second tuning file."""
    return fill(store)


def unreadable(store: Store) -> list[str]:
    return [name for name in SIGNED
            if refusal_of(KINDS[name].read, store, KINDS[name].written)]  # fmt: skip


@pytest.mark.parametrize("first", ["", "theirs"])
def test_signing_makes_a_store_usable(full: Store, use_key: UseKey, first: str) -> None:
    use_key(first)
    if first:
        assert sign_store(full) == (6, [])
    use_key("ours")
    assert sign_store(full) == (6, [])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert unreadable(full) == []
    assert read_workload(full, "cuda-tvm0.27-0", OTHER) is not None
    assert list(full.root.rglob("*.damaged")) == []
    use_key("another")
    assert unreadable(full) == SIGNED


def test_signing_again_changes_nothing(full: Store, use_key: UseKey) -> None:
    unsigned = contents(full.root)
    use_key("ours")
    sign_store(full)
    signed = contents(full.root)
    assert signed.keys() == unsigned.keys()
    assert sign_store(full) == (6, [])
    assert contents(full.root) == signed
    # Written with the key from the start it is the same, to the byte.
    shutil.rmtree(full.root)
    assert contents(fill(open_store(full.root)).root) == signed


def test_signing_loses_nothing_that_another_process_adds_meanwhile(
    store: Store, use_key: UseKey
) -> None:
    use_key("ours")
    add_to_workload(store, KEY, KNOWN)
    context = multiprocessing.get_context("spawn")
    barrier, times = context.Barrier(2), 40
    writer = context.Process(target=add_many, args=(store.root, 0, times, barrier))
    writer.start()
    barrier.wait(60)
    while writer.is_alive():
        assert sign_store(store) == (1, [])
    writer.join(60)
    assert writer.exitcode == 0
    found = read_workload(store, KEY, SHASH)
    assert found is not None
    assert len(found.served) == times + len(KNOWN.served)


def test_signing_without_a_key_is_an_error_and_changes_nothing(full: Store) -> None:
    before = contents(full.root)
    with pytest.raises(StoreError, match="no key is set; set the environment variable TVMTUNE"):
        sign_store(full)
    assert contents(full.root) == before


def test_signing_an_empty_store(store: Store, use_key: UseKey) -> None:
    use_key("ours")
    assert sign_store(store) == (0, [])


def damaged_record(store: Store) -> Path:
    path = path_of(store)
    return put(path, path.read_bytes() + b"garbage\n")


def lost_workload(store: Store) -> Path:
    return put(path_of(store), b"lost\n")


def foreign_workload(store: Store) -> Path:
    content = path_of(store).read_bytes()
    return put(path_of(store), content.replace(SHASH.encode(), OTHER.encode()))


def empty_build(store: Store) -> Path:
    return put(store.builds / "key.json", b"")


def list_build(store: Store) -> Path:
    return put(store.builds / "key.json", b"[]")


def damaged_manifest(store: Store) -> Path:
    return put(store.artifacts / DIGEST / "manifest.json", b"{}")


def damaged_library(store: Store) -> Path:
    path = store.artifacts / DIGEST / "manifest.json"
    path.with_name("model.so").write_bytes(b"codE")
    return path


def lost_library(store: Store) -> Path:
    path = store.artifacts / DIGEST / "manifest.json"
    path.with_name("model.so").unlink()
    return path


def damaged_baseline(store: Store) -> Path:
    return put(store.baselines / IDENTITY.file_name, b'{"schema": 2}')


def conflicting_baseline(store: Store) -> Path:
    return put(store.baselines / IDENTITY.file_name, b"<<<<<<< HEAD\n{}\n")


def old_baseline(store: Store) -> Path:
    return put(store.baselines / IDENTITY.file_name, b'{"schema": 1}')


def no_utf8_baseline(store: Store) -> Path:
    return put(store.baselines / IDENTITY.file_name, b'{"schema": "\xe9"}')


def damaged_records(store: Store) -> Path:
    path = records_path(store, IDENTITY.file_name)
    return put(path, path.read_bytes()[:-1])


def records_with_garbage(store: Store) -> Path:
    path = records_path(store, IDENTITY.file_name)
    write_text_of(path, text_of(path) + b"garbage\n")
    return path


@pytest.mark.parametrize(
    "damage",
    [damaged_record, lost_workload, foreign_workload, empty_build, list_build, damaged_manifest,
     damaged_library, lost_library, damaged_baseline, conflicting_baseline, old_baseline,
     no_utf8_baseline, damaged_records, records_with_garbage],
)  # fmt: skip
def test_what_is_damaged_is_not_signed_nor_changed_and_the_rest_is(
    full: Store, use_key: UseKey, damage: Callable[[Store], Path]
) -> None:
    path = damage(full)
    content = path.read_bytes()
    use_key("ours")
    done, left_out = sign_store(full)
    assert done == 5
    assert len(left_out) == 1
    assert left_out[0].startswith(f"{path}: ")
    assert path.read_bytes() == content
    assert list(full.root.rglob("*.damaged")) == []
    (kind,) = (name for name in SIGNED if KINDS[name].path(full) == path)
    assert unreadable(full) == [kind]


@pytest.mark.parametrize(
    "content", [b"{}", b'{"library": "../../x", "applied": [], "compile_s": 1.0, "ran_with": []}']
)
def test_a_damaged_build_is_not_signed(full: Store, use_key: UseKey, content: bytes) -> None:
    path = put(full.builds / "key.json", content)
    use_key("ours")
    done, left_out = sign_store(full)
    assert (done, len(left_out)) == (5, 1)
    assert path.read_bytes() == content


def test_a_baseline_under_anothers_name_is_not_signed(full: Store, use_key: UseKey) -> None:
    path = put(full.baselines / "x.json", (full.baselines / IDENTITY.file_name).read_bytes())
    use_key("ours")
    done, left_out = sign_store(full)
    assert (done, len(left_out)) == (6, 1)
    assert left_out[0].startswith(f"{path}: ")


def test_records_of_a_case_whose_name_has_dots_are_signed(store: Store, use_key: UseKey) -> None:
    accepted = put_case(store, params="a.records.b")
    before = {path.name for path in store.baselines.iterdir()}
    use_key("ours")
    assert sign_store(store) == (4, [])
    assert {path.name for path in store.baselines.iterdir()} == before
    assert read_records(store, accepted.identity) == [(KEY, RECORDS)]


def test_what_was_set_aside_is_none_of_signings_business(full: Store, use_key: UseKey) -> None:
    folder = put_artifact(full, b"damaged")
    (folder / "model.so").write_bytes(b"Damaged")
    folder.rename(folder.with_name(f"{folder.name}.damaged"))
    put(full.builds / "x.json.damaged", b"{")
    put(path_of(full, "0" * 16).with_suffix(".jsonl.damaged"), b"lost\n")
    use_key("ours")
    assert sign_store(full) == (6, [])


@pytest.mark.parametrize("name", ["manifest", "build", "baseline"])
def test_what_is_nested_too_deeply_is_left_out(full: Store, use_key: UseKey, name: str) -> None:
    path = put(KINDS[name].path(full), b"[" * 100_000)
    use_key("ours")
    done, left_out = sign_store(full)
    assert (done, [one.split(": ")[0] for one in left_out]) == (5, [str(path)])


def test_what_can_not_be_written_is_left_out_and_the_rest_signed(
    full: Store, use_key: UseKey
) -> None:
    # Beside a file whose name is as long as can be no temporary one can stand.
    put(full.builds / f"{'x' * 245}.json", (full.builds / "key.json").read_bytes())
    use_key("ours")
    done, left_out = sign_store(full)
    assert (done, len(left_out)) == (6, 1)


def test_signing_makes_a_warm_note_no_better(store: Store, use_key: UseKey) -> None:
    KINDS["warm"].put(store)
    use_key("ours")
    assert sign_store(store) == (0, [])
    assert_refused(KINDS["warm"], store, "")


def test_records_that_bring_code_along_are_never_signed(full: Store, use_key: UseKey) -> None:
    evil = {**asdict(record(1e-9)), "data": [[[["Annotate", ["l"], ["pragma_import_c"]]], []],
                                             [1e-9], {"kind": "llvm"}, []]}  # fmt: skip
    path = put(path_of(full), path_of(full).read_bytes() + line("record", **evil))
    use_key("ours")
    done, left_out = sign_store(full)
    assert done == 5
    assert left_out == [f"{path}: line 4: refused: its trace contains code"]


@pytest.mark.parametrize("key", ["", "ours"])
def test_a_build_without_its_library_is_signed_as_it_is(
    store: Store, use_key: UseKey, key: str
) -> None:
    put_build(store, "b", "cd" * 32)
    use_key("ours")
    sign_store(store)
    use_key(key)
    found = read_build(store, "b")
    assert found is not None
    assert found.library == "cd" * 32
