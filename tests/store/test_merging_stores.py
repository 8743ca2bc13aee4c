"""Merging stores: a union, once, whatever else runs, and whatever kills it."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_tvmtune.store.inventory import problems
from pytest_tvmtune.store.layout import Store, open_store
from pytest_tvmtune.store.merging import LeftOut, MergedFile, merge_baselines, merge_tuning
from pytest_tvmtune.store.tuning.records import KEPT_RECORDS, Workload, merge
from pytest_tvmtune.store.tuning.workload_files import add_to_workload, read_workload, stored_keys
from tests.store.test_merging_workloads import workloads
from tests.support.sample_records import KEY, SHASH, path_of, put, record, served, workload
from tests.support.sample_store import contents, put_artifact, put_baseline, put_case

MERGE = "import sys; from pytest_tvmtune.cli import main; sys.exit(main(sys.argv[1:]))"
KILLS = int(os.environ.get("TVMTUNE_KILLS", "3"))


@pytest.fixture
def other(tmp_path: Path) -> Store:
    return open_store(tmp_path / "other")


def merged(store: Store, *others: Store) -> list[MergedFile | LeftOut]:
    return [*merge_tuning(store, others), *merge_baselines(store, others)]


def changes(found: list[MergedFile | LeftOut]) -> list[bool]:
    assert [one for one in found if isinstance(one, LeftOut)] == []
    return [one.changed for one in found if isinstance(one, MergedFile)]


def only_left_out(found: list[MergedFile | LeftOut]) -> LeftOut:
    (one,) = (one for one in found if isinstance(one, LeftOut))
    return one


def known(store: Store) -> dict[tuple[str, str], Workload | None]:
    return {(key, shash): read_workload(store, key, shash) for key, shash in stored_keys(store)}


# More schedules than are kept, so that it matters which of them are the best.
@given(
    stores=st.lists(workloads(4 * KEPT_RECORDS), min_size=2, max_size=4),
    order=st.permutations(range(4)),
)
def test_neither_order_nor_repetition_counts(stores: list[Workload], order: list[int]) -> None:
    with TemporaryDirectory() as folder:
        roots = [open_store(Path(folder) / str(number)) for number in range(len(stores))]
        for root, one in zip(roots, stores, strict=True):
            add_to_workload(root, KEY, merge(one))
        store = open_store(Path(folder) / "store")
        merged(store, *(roots[number] for number in order if number < len(roots)))
        assert read_workload(store, KEY, SHASH) == merge(*map(merge, stores))
        before = contents(store.root)
        assert changes(merged(store, *roots)) == [False]
        assert contents(store.root) == before


def test_a_merge_keeps_the_names_of_the_store_and_is_idempotent(store: Store, other: Store) -> None:
    add_to_workload(store, KEY, workload(record(2e-3, "mine"), name="mine", served=(served(8),)))
    add_to_workload(other, KEY, workload(record(1e-3, "theirs"), served=(served(64),)))
    add_to_workload(other, "llvm-tvm0.26-0123456789ab", workload(record(1.0), shash="1" * 16))
    theirs = contents(other.root)
    assert changes(merged(store, other)) == [True, True]
    found = read_workload(store, KEY, SHASH)
    assert found is not None
    assert found.name == "mine"
    assert [one.mean_s for one in found.records] == [1e-3, 2e-3]
    assert [line.trials for line in found.served] == [64, 8]
    before = contents(store.root)
    assert changes(merged(store, other)) == [False, False]
    assert contents(store.root) == before
    # A store is only read, whatever is in it.
    assert contents(other.root) == theirs


def test_a_damaged_file_is_left_out_and_the_others_are_merged(store: Store, other: Store) -> None:
    add_to_workload(other, KEY, workload(record(1e-3)))
    add_to_workload(other, KEY, workload(record(1e-3), shash="1" * 16))
    damaged = put(path_of(other), path_of(other).read_bytes() + b"garbage\n")
    before = contents(other.root)
    found = only_left_out(merged(store, other))
    assert found == LeftOut(path=damaged, reason="line 3: not a line of a tuning file")
    assert list(stored_keys(store)) == [(KEY, "1" * 16)]
    assert contents(other.root) == before


def test_a_file_that_cannot_be_read_is_left_out(store: Store, other: Store) -> None:
    path_of(other).mkdir(parents=True)
    assert only_left_out(merged(store, other)).reason.startswith(f"can't read {path_of(other)}: ")


@pytest.mark.parametrize(
    ("keys", "left_out"),
    [
        (("", "ours"), "not signed, although TVMTUNE_KEY is set"),
        (("theirs", "ours"), "signed with another key than TVMTUNE_KEY, or changed after it was"),
        (("ours", "ours"), ""),
        (("theirs", ""), ""),
    ],
)
def test_with_a_key_only_what_it_signed_is_merged(
    store: Store,
    other: Store,
    use_key: Callable[[str], None],
    keys: tuple[str, str],
    left_out: str,
) -> None:
    use_key(keys[0])
    add_to_workload(other, KEY, workload(record(1e-3)))
    put_case(other)
    use_key(keys[1])
    found = merged(store, other)
    if left_out:
        assert [isinstance(one, LeftOut) and left_out in one.reason for one in found] == [True] * 2
    else:
        assert changes(found) == [True, True]
    assert list(problems(store)) == []
    assert len(contents(store.tuning)) == (not left_out)


def test_a_baseline_comes_with_all_it_needs(store: Store, other: Store) -> None:
    accepted = put_case(other)
    put_artifact(other, b"of no baseline")
    assert changes(merged(store, other)) == [True]
    assert {path.name for path in store.artifacts.iterdir()} == set(accepted.libraries)
    assert list(problems(store)) == []
    before = contents(store.root)
    assert changes(merged(store, other)) == [False]
    assert contents(store.root) == before


def test_another_baseline_of_the_case_is_left_out(store: Store, other: Store) -> None:
    put_case(store, code=b"mine")
    put_case(other, code=b"theirs")
    before = contents(store.root)
    one = only_left_out(merged(store, other))
    assert one.reason == (
        f"{store.root} has another baseline of this case; to replace it, use `tvmtune baselines "
        "export` and `tvmtune baselines import`"
    )
    assert contents(store.root) == before


def test_a_baseline_without_its_library_gets_it(store: Store, other: Store) -> None:
    accepted = put_case(store)
    put_case(other)
    library = store.artifacts / accepted.artifact / "model.so"
    library.unlink()
    assert changes(merged(store, other)) == [True]
    assert library.read_bytes() == b"tuned"


def test_a_baseline_that_lacks_something_is_left_out(store: Store, other: Store) -> None:
    path = put_baseline(other, "0" * 64)
    one = only_left_out(merged(store, other))
    assert one.path == path
    assert one.reason == f"baselines/{path.name}: artifact 000000000000 is missing"
    assert not store.baselines.exists()


def test_a_damaged_baseline_of_the_store_stays(store: Store, other: Store) -> None:
    accepted = put_case(store)
    put_case(other)
    path = put(store.baselines / accepted.identity.file_name, b"{}")
    one = only_left_out(merged(store, other))
    assert one.reason == f"{path}: not a baseline of schema 2"
    assert path.read_bytes() == b"{}"


def filled(root: Path, machine: int, workloads: int = 40) -> Store:
    """Return a store with records and a baseline of one machine."""
    store = open_store(root)
    for number in range(workloads):
        one = workload(
            record(1e-3 * (machine + 1), f"trace {machine}", cpu=f"CPU {machine}"),
            shash=f"{number:016x}",
            served=(served(machine + 1),),
        )
        add_to_workload(store, KEY, one)
    put_case(store, code=b"of machine %d" % machine, name=f"of machine {machine}")
    return store


def started(store: Store, *others: Store) -> subprocess.Popen[bytes]:
    folders = [str(other.root) for other in others]
    return subprocess.Popen(
        [sys.executable, "-c", MERGE, "db", "merge", *folders, "--dir", str(store.root)],
        stdout=subprocess.PIPE,
    )


def test_merges_and_a_writer_at_once_lose_nothing(store: Store, tmp_path: Path) -> None:
    others = [filled(tmp_path / f"machine {number}", number) for number in range(3)]
    processes = [started(store, *others[:2]), started(store, others[2], others[0])]
    own = "CPU of a running test"
    for number in range(40):
        one = workload(record(1.0, "own", cpu=own), shash=f"{number:016x}")
        add_to_workload(store, KEY, one)
    assert [process.wait(60) for process in processes] == [0, 0]
    for process in processes:
        process.communicate()
    found = known(store)
    assert len(found) == 40
    cpus = {own, *(f"CPU {number}" for number in range(3))}
    assert all(one and {r.cpu for r in one.records} == cpus for one in found.values())
    assert all(one and len(one.served) == 3 for one in found.values())
    assert len(list(store.baselines.glob("*.json"))) == 3
    assert list(problems(store)) == []


def test_a_killed_merge_leaves_a_sound_store(tmp_path: Path) -> None:
    others = [filled(tmp_path / f"machine {number}", number) for number in range(2)]
    whole = open_store(tmp_path / "whole")
    with started(whole, *others) as process:
        assert process.wait(60) == 0
    pauses, killed, cut = random.Random(0), 0, 0
    for attempt in range(20 * KILLS):
        store = open_store(tmp_path / f"store {attempt}")
        with started(store, *others) as process:
            while process.poll() is None and not any(store.tuning.glob("*/*.jsonl")):
                time.sleep(0.001)
            time.sleep(pauses.uniform(0, 0.1))
            process.kill()
        if process.returncode != -9:
            continue
        killed += 1
        assert list(problems(store)) == []
        cut += known(store) != known(whole)
        with started(store, *others) as process:
            assert process.wait(60) == 0
        assert known(store) == known(whole)
        assert contents(store.baselines) == contents(whole.baselines)
        assert list(problems(store)) == []
        if killed == KILLS and cut:
            break
    assert killed
    assert cut
