"""What may go from a store, and what never does."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from pytest_tvmtune.core.errors import StoreError
from pytest_tvmtune.store.accepted.baseline_files import read_baseline, read_records
from pytest_tvmtune.store.artifacts import KERNELS, find
from pytest_tvmtune.store.cleaning import (
    Removal,
    old_artifacts,
    thin_records,
    unneeded_workloads,
)
from pytest_tvmtune.store.layout import Store
from pytest_tvmtune.store.tuning.cached_outcome import (
    CachedOutcome,
    read_cached_outcome,
    write_cached_outcome,
)
from pytest_tvmtune.store.tuning.workload_files import add_to_workload, read_workload
from tests.support.sample_records import (
    HEAD,
    KEY,
    RECORD,
    SHASH,
    line,
    path_of,
    put,
    record,
    served,
    workload,
)
from tests.support.sample_store import (
    IDENTITY,
    RECORDS,
    age,
    contents,
    days_ago,
    put_artifact,
    put_baseline,
    put_build,
    put_case,
    put_plan,
)

OTHER = "ff" * 8


def old(store: Store, *, days: float = 30, most: int | None = None) -> list[Removal]:
    return old_artifacts(store, before_s=days_ago(days), max_bytes=most)


def paths(removals: list[Removal]) -> list[Path]:
    return [removal.path for removal in removals]


def size_of(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.iterdir())


def test_an_empty_store_has_nothing_to_remove(store: Store) -> None:
    assert old(store, most=0) == []
    assert unneeded(store, before_s=days_ago(0), unreferenced=True, keep_minor="0.1") == []


def test_what_was_not_used_for_long_goes_with_its_builds_least_recent_first(store: Store) -> None:
    forty, fifty, new = (
        put_artifact(store, code, days=days)
        for code, days in ((b"forty", 40), (b"fifty", 50), (b"new", 2))
    )
    builds = [put_build(store, f"b{n}", forty.name, days=40 + n) for n in range(2)]
    put_build(store, "new", new.name, days=45)
    removals = old(store)
    # The entries before the library: until it goes they find it.
    assert paths(removals)[0] == fifty
    assert set(paths(removals)[1:3]) == set(builds)
    assert paths(removals)[3:] == [forty]
    assert removals[3].size_bytes == size_of(forty)
    assert all(removal.why.startswith("last used 2") for removal in removals)
    for removal in removals:
        removal.carry_out()
    assert list(store.artifacts.iterdir()) == [new]
    assert [path.name for path in store.builds.iterdir()] == ["new.json"]
    assert old(store) == []


def test_a_library_is_as_recent_as_the_last_use_of_a_build(store: Store) -> None:
    folder = put_artifact(store, b"code", days=50)
    put_build(store, "old", folder.name, days=45)
    recent = put_build(store, "recent", folder.name, days=1)
    assert old(store) == []
    age(recent, 31)
    assert len(old(store)) == 3


def test_then_the_least_recently_used_go_until_the_rest_is_small_enough(store: Store) -> None:
    three, one, two = (put_artifact(store, b"%d" % n * 1000, days=n) for n in (3, 1, 2))
    each = size_of(one)
    assert old(store, most=3 * each) == []
    assert paths(old(store, most=3 * each - 1)) == [three]
    assert paths(old(store, most=2 * each)) == [three]
    assert paths(old(store, most=each)) == [three, two]
    removals = old(store, most=0)
    assert paths(removals) == [three, two, one]
    assert all(removal.why.startswith("to save space, last used 2") for removal in removals)
    # Age and size together: what is old counts as gone.
    assert paths(old(store, days=2.5, most=2 * each)) == [three]


@pytest.mark.parametrize("most", [None, 0])
def test_what_a_baseline_needs_stays_whatever_its_age(store: Store, most: int | None) -> None:
    needed, untuned, other = (
        put_artifact(store, code, days=400) for code in (b"needed", b"untuned", b"other")
    )
    put_build(store, "needed", needed.name, days=400)
    put_build(store, "untuned", untuned.name, days=400)
    put_baseline(store, needed.name, untuned=untuned.name)
    assert paths(old(store, most=most)) == [other]


@pytest.mark.parametrize("key", ["", "ours"])
def test_a_case_has_all_it_needs_when_everything_else_has_gone(
    store: Store, use_key: Callable[[str], None], key: str
) -> None:
    use_key(key)
    cases = [put_case(store, code=code, name=code.decode()) for code in (b"one", b"two")]
    put_artifact(store, b"other")
    for path in (store.artifacts, *store.root.rglob("*")):
        age(path, 400)
    for removal in old(store, days=0, most=0):
        removal.carry_out()
    for removal in unneeded_workloads(store, before_s=time.time(), unreferenced=True,
                                      keep_minor="0.1"):  # fmt: skip
        removal.carry_out()
    assert len(list(store.artifacts.iterdir())) == 3
    for case in cases:
        assert read_baseline(store, case.identity) == case
        assert read_records(store, case.identity) == [(KEY, RECORDS)]
        for digest in (case.artifact, case.untuned):
            assert find(store, digest).sha256 == digest


def test_what_only_a_replaced_baseline_needed_goes(store: Store) -> None:
    before = put_case(store, code=b"before")
    after = put_case(store, code=b"after")
    assert [path.name for path in paths(old(store, days=0))] == [before.artifact]
    (store.baselines / IDENTITY.file_name).unlink()
    gone = {path.name for path in paths(old(store, days=0))}
    assert gone == {before.artifact, after.artifact, after.untuned}


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"schema": 99}', b"<<<<<<< HEAD\n"])
def test_a_baseline_that_can_not_be_read_stops_it(store: Store, content: bytes) -> None:
    put_artifact(store, b"code", days=400)
    put_baseline(store, "ab" * 32)
    path = put(store.baselines / "x.json", content)
    with pytest.raises(StoreError) as caught:
        old(store)
    assert str(caught.value).startswith(f"{path} is damaged (")
    assert str(caught.value).endswith("restore or remove it first")


def test_a_baseline_that_is_nested_too_deeply_stops_it_too(store: Store) -> None:
    put(store.baselines / "x.json", b"[" * 100_000)
    with pytest.raises(StoreError, match="is damaged"):
        old(store)


@pytest.mark.parametrize("first", ["", "theirs"])
def test_a_baseline_that_the_key_did_not_sign_stops_it(
    store: Store, use_key: Callable[[str], None], first: str
) -> None:
    use_key(first)
    accepted = put_case(store)
    use_key("ours")
    with pytest.raises(StoreError) as caught:
        old(store, days=0, most=0)
    path = store.baselines / accepted.identity.file_name
    assert str(caught.value).startswith(f"{path} is damaged (")
    use_key("")
    assert old(store, days=0, most=0) == []


def test_old_warm_notes_go_and_used_ones_stay(store: Store) -> None:
    for key in ("old", "used", "new"):
        write_cached_outcome(
            store, key, [[[1, 2, 3]]], CachedOutcome(build="ab" * 32, tasks=(), left_out=())
        )
        age(store.cached_outcomes / f"{key}.json", 0 if key == "new" else 31)
    assert read_cached_outcome(store, "used", [[[1, 2, 3]]]) is not None
    (removal,) = old(store)
    assert removal.path == store.cached_outcomes / "old.json"
    assert removal.size_bytes == removal.path.stat().st_size
    removal.carry_out()
    assert read_cached_outcome(store, "old", [[[1, 2, 3]]]) is None
    assert read_cached_outcome(store, "new", [[[1, 2, 3]]]) is not None


def test_old_plans_go_and_new_ones_stay(store: Store) -> None:
    gone = put_plan(store, "old", days=31)
    put_plan(store, "new", days=29)
    (removal,) = old(store)
    assert (removal.path, removal.why) == (gone, "old plan")
    assert removal.size_bytes == gone.stat().st_size


def test_old_reproducers_go_and_new_ones_stay(store: Store) -> None:
    for name, days in (("old", 31), ("new", 29)):
        put(store.reproducers / name / "data.npz", b"x" * 100)
        put(store.reproducers / name / "repro.py", b"y" * 20)
        age(store.reproducers / name, days)
    (removal,) = old(store, most=0)
    assert (removal.path, removal.why) == (store.reproducers / "old", "old reproducer")
    assert removal.size_bytes == 120
    removal.carry_out()
    assert [path.name for path in store.reproducers.iterdir()] == ["new"]


def test_the_kernels_of_an_artifact_count_and_go_with_it(store: Store) -> None:
    folder = put_artifact(store, b"code")
    before = size_of(folder)
    put(folder / KERNELS, b"x" * 100)
    age(folder, 40)
    (removal,) = old(store)
    assert (removal.path, removal.size_bytes) == (folder, before + 100)
    removal.carry_out()
    assert not folder.exists()


def test_a_damaged_build_stops_nothing_and_a_build_without_library_goes_in_time(
    store: Store,
) -> None:
    put(store.builds / "damaged.json", b"{")
    alone = put_build(store, "alone", "cd" * 32, days=40)
    put_build(store, "recent", "ef" * 32)
    removals = old(store)
    assert alone in paths(removals)
    for removal in removals:
        removal.carry_out()
    assert sorted(path.name for path in store.builds.iterdir()) == ["damaged.json", "recent.json"]


@pytest.mark.parametrize("library", ["../../precious", "{root}/../precious", "", ".", ".."])
def test_a_build_never_leads_out_of_the_artifacts(
    store: Store, tmp_path: Path, library: str
) -> None:
    (tmp_path / "precious").mkdir()
    needed = put_artifact(store, b"needed", days=400)
    put_baseline(store, needed.name)
    put_build(store, "b", library.format(root=store.root), days=40)
    age(store.artifacts, 40)
    for removal in old(store):
        if removal.path.is_dir():
            assert removal.path.parent == store.artifacts
            assert removal.path not in (store.artifacts / ".", store.artifacts / "..")


def test_what_has_gone_meanwhile_is_fine(store: Store) -> None:
    for path in (store.root / "file", store.root / "folder"):
        Removal(path=path, why="", size_bytes=0).carry_out()


def test_a_whole_folder_is_removed(store: Store) -> None:
    put(store.root / "folder" / "below" / "file", b"x")
    Removal(path=store.root / "folder", why="", size_bytes=1).carry_out()
    assert not (store.root / "folder").exists()


def unneeded(
    store: Store,
    *,
    before_s: float | None = None,
    unreferenced: bool = False,
    keep_minor: str | None = None,
) -> list[tuple[str, str]]:
    before = contents(store.root)
    found = list(
        unneeded_workloads(
            store, before_s=before_s, unreferenced=unreferenced, keep_minor=keep_minor
        )
    )
    assert contents(store.root) == before
    assert all(removal.size_bytes == removal.path.stat().st_size for removal in found)
    return [(removal.path.parent.name + "/" + removal.path.stem, removal.why) for removal in found]


def test_without_a_rule_nothing_is_unneeded(store: Store) -> None:
    add_to_workload(store, KEY, workload(record(1.0)))
    assert unneeded(store) == []


def test_workloads_tuned_long_ago(store: Store) -> None:
    lines = [served(8, at_s=days_ago(50)), served(64, at_s=days_ago(20), complete=False)]
    add_to_workload(store, KEY, workload(record(1.0), served=tuple(lines)))
    add_to_workload(store, KEY, workload(shash=OTHER, served=(lines[0],)))
    assert unneeded(store, before_s=days_ago(60)) == []
    assert unneeded(store, before_s=days_ago(30)) == [
        (f"{KEY}/{OTHER}", "tuned before the given time")
    ]
    assert len(unneeded(store, before_s=days_ago(10))) == 2


def test_the_age_of_what_has_no_ledger_is_unknown(store: Store) -> None:
    put(path_of(store), b"lost\n")
    add_to_workload(store, KEY, workload(record(1.0), shash=OTHER))
    assert unneeded(store, before_s=time.time()) == []


def test_workloads_of_no_known_model(store: Store) -> None:
    other_key = KEY.replace("llvm", "cuda")
    for key, shash in ((KEY, SHASH), (KEY, OTHER), (other_key, SHASH)):
        add_to_workload(store, key, workload(shash=shash))
    put_plan(store, "mlp", SHASH, "0" * 16)
    why = "no stored plan has its task"
    assert unneeded(store, unreferenced=True) == [
        (f"{other_key}/{SHASH}", why), (f"{KEY}/{OTHER}", why)
    ]  # fmt: skip


def test_workloads_of_other_versions_of_tvm(store: Store) -> None:
    keys = [f"llvm-tvm{minor}-0123456789ab" for minor in ("0.26", "0.27", "0.270", "10.27")]
    for key in keys:
        add_to_workload(store, key, workload())
    why = "made by another version than TVM 0.27"
    assert unneeded(store, keep_minor="0.27") == [
        (f"{key}/{SHASH}", why) for key in keys if key != keys[1]
    ]


def test_any_rule_is_enough(store: Store) -> None:
    add_to_workload(store, KEY, workload(served=(served(8, at_s=days_ago(1)),)))
    put_plan(store, "mlp")
    then = days_ago(30)
    assert unneeded(store, before_s=then, unreferenced=True, keep_minor="0.27") == []
    assert unneeded(store, before_s=then, unreferenced=True, keep_minor="0.28") == [
        (f"{KEY}/{SHASH}", "made by another version than TVM 0.28")
    ]


def test_thinning_keeps_the_best_of_each_cpu_and_all_else(store: Store) -> None:
    full = workload(
        *(record(n + 1.0, f"t{n}") for n in range(4)), record(9.0, "o", cpu="other CPU"),
        served=(served(64),),
    )  # fmt: skip
    add_to_workload(store, KEY, full)
    add_to_workload(store, KEY, workload(record(1.0), shash=OTHER))
    untouched = path_of(store, OTHER).stat().st_ino
    assert thin_records(store, 2, dry_run=True) == 2
    assert thin_records(store, 2, dry_run=False) == 2
    found = read_workload(store, KEY, SHASH)
    assert found == workload(
        record(1.0, "t0"), record(2.0, "t1"), record(9.0, "o", cpu="other CPU"),
        served=(served(64),),
    )  # fmt: skip
    assert path_of(store, OTHER).stat().st_ino == untouched
    assert thin_records(store, 2, dry_run=False) == 0


def test_thinning_leaves_damaged_files_as_they_are(store: Store) -> None:
    more = line("record", **asdict(record(2.0, "more")))
    put(path_of(store), HEAD + RECORD + more + b"garbage\n")
    put(path_of(store, OTHER), b"lost\n")
    before = contents(store.root)
    assert thin_records(store, 1, dry_run=False) == 0
    assert contents(store.root) == before


def test_a_thinned_file_is_signed_again(store: Store, use_key: Callable[[str], None]) -> None:
    use_key("ours")
    full = workload(record(1.0, "a"), record(2.0, "b"))
    add_to_workload(store, KEY, full)
    assert thin_records(store, 1, dry_run=False) == 1
    assert read_workload(store, KEY, SHASH) == replace(full, records=full.records[:1])


def test_thinning_leaves_what_the_key_did_not_sign(
    store: Store, use_key: Callable[[str], None]
) -> None:
    add_to_workload(store, KEY, workload(record(1.0, "a"), record(2.0, "b")))
    before = contents(store.root)
    use_key("ours")
    assert thin_records(store, 1, dry_run=False) == 0
    assert contents(store.root) == before
