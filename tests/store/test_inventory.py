"""What is in a store, and whether it is sound."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path

import pytest

from pytest_tvmtune.store.accepted.baseline_files import records_path
from pytest_tvmtune.store.artifacts import KERNELS
from pytest_tvmtune.store.inventory import (
    StoreProblem,
    TargetStats,
    find_workloads,
    known_plans,
    problems,
    repair,
    target_stats,
)
from pytest_tvmtune.store.layout import Store
from pytest_tvmtune.store.tuning.workload_files import add_to_workload
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
from tests.support.sample_store import (
    IDENTITY,
    contents,
    put_artifact,
    put_baseline,
    put_build,
    put_plan,
)

OTHER_KEY = "cuda-tvm0.27-0123456789ab"
OTHER = "ff" * 8


@pytest.fixture
def full(store: Store) -> Store:
    """A sound store with something of each kind."""
    add_to_workload(
        store,
        KEY,
        workload(
            record(1e-3, "a"), record(2e-3, "b", cpu="other CPU"),
            served=(served(64, spent=8, valid=6),
                    served(8, spent=3, valid=0, run_id="cut", complete=False)),
            refused=(refusal(record(1.0, "c")),),
        ),
    )  # fmt: skip
    add_to_workload(store, KEY, workload(shash=OTHER, served=(served(64, spent=2, valid=0),)))
    add_to_workload(store, OTHER_KEY, workload(record(1.0, cpu="GPU"), name="fused_relu"))
    folder = put_artifact(store, b"a library")
    put_build(store, "b", folder.name)
    put_plan(store, "mlp")
    put_baseline(store, folder.name)
    return store


def test_stats_count_what_is_there_by_target(full: Store) -> None:
    sizes = {
        key: sum(path.stat().st_size for path in (full.tuning / key).glob("*.jsonl"))
        for key in (KEY, OTHER_KEY)
    }
    assert target_stats(full) == [
        TargetStats(
            key=OTHER_KEY, workloads=1, tuned=1, records=1, size_bytes=sizes[OTHER_KEY],
            cpus={"GPU"},
        ),
        TargetStats(
            key=KEY, workloads=2, tuned=1, records=2, trials=13, valid=6, size_bytes=sizes[KEY],
            cpus={"this CPU", "other CPU"},
        ),
    ]  # fmt: skip


def test_a_damaged_file_is_counted_with_what_is_left_of_it(store: Store) -> None:
    put(path_of(store), HEAD + RECORD + b"garbage\n")
    put(path_of(store, OTHER), b"lost\n")
    before = contents(store.root)
    (stats,) = target_stats(store)
    assert (stats.workloads, stats.tuned, stats.records) == (2, 1, 1)
    assert contents(store.root) == before


def test_an_empty_store(store: Store) -> None:
    assert target_stats(store) == []
    assert known_plans(store) == []
    assert find_workloads(store, "x") == []
    assert list(problems(store)) == []


def test_plans_are_in_order_the_damaged_left_out(store: Store) -> None:
    for model, key, prepack in (("b", KEY, False), ("a", KEY, True), ("a", KEY, False)):
        put_plan(store, model, target_key=key, prepack=prepack)
    put_plan(store, "a", target_key=OTHER_KEY)
    put(store.plans / "damaged.json", b"{")
    assert [(plan.model, plan.target_key, plan.prepack) for plan in known_plans(store)] == [
        ("a", OTHER_KEY, False), ("a", KEY, False), ("a", KEY, True), ("b", KEY, False)
    ]  # fmt: skip
    assert (store.plans / "damaged.json").exists()


def test_workloads_are_found_by_name_and_by_the_beginning_of_their_hash(full: Store) -> None:
    def found(text: str) -> list[tuple[str, str]]:
        return [(key, workload.shash) for key, workload in find_workloads(full, text)]

    assert found("fused_matmul") == [(KEY, SHASH), (KEY, OTHER)]
    assert found("fused_relu") == [(OTHER_KEY, SHASH)]
    assert found("fused") == []
    assert found(SHASH[:4]) == [(OTHER_KEY, SHASH), (KEY, SHASH)]
    assert found(OTHER) == [(KEY, OTHER)]
    assert found(OTHER[:-1] + "0") == []
    put(path_of(full), b"lost\n")
    assert found(SHASH) == [(OTHER_KEY, SHASH)]


def test_a_sound_store_has_no_problem(full: Store) -> None:
    assert list(problems(full)) == []


def damaged_records(store: Store) -> Path:
    return put(path_of(store), HEAD + RECORD + b"garbage\n")


def foreign_records(store: Store) -> Path:
    return put(path_of(store, "0" * 16), path_of(store).read_bytes())


def damaged_plan(store: Store) -> Path:
    return put(store.plans / "x.json", b'{"tasks": 5}')


def damaged_build(store: Store) -> Path:
    return put(store.builds / "x.json", b"[]")


def damaged_library(store: Store) -> Path:
    folder = put_artifact(store, b"another library")
    (folder / "model.so").write_bytes(b"another librarY")
    return folder


def lost_library(store: Store) -> Path:
    folder = put_artifact(store, b"another library")
    (folder / "model.so").unlink()
    return folder


def test_an_artifact_whose_writing_was_cut_is_no_problem(full: Store) -> None:
    folder = put_artifact(full, b"another library")
    (folder / "manifest.json").unlink()
    assert list(problems(full)) == []
    (folder / "model.so").unlink()
    assert list(problems(full)) == []


def damaged_manifest(store: Store) -> Path:
    folder = put_artifact(store, b"another library")
    (folder / "manifest.json").write_text("{")
    return folder


def foreign_kernels(store: Store) -> Path:
    return put(put_artifact(store, b"another library") / KERNELS, b"other kernels")


def damaged_baseline(store: Store) -> Path:
    return put(store.baselines / "x.json", b'{"schema": 2, "identity": {}}')


def old_baseline(store: Store) -> Path:
    return put(store.baselines / "x.json", b'{"schema": 1}')


def empty_baseline(store: Store) -> Path:
    return put(store.baselines / "x.json", b"")


def baseline_without_its_library(store: Store) -> Path:
    return put_baseline(store, "ab" * 32, name="other")


def baseline_without_its_untuned_library(store: Store) -> Path:
    return put_baseline(store, put_artifact(store, b"more").name, "other", untuned="cd" * 32)


def baseline_with_damaged_records(store: Store) -> Path:
    path = store.baselines / IDENTITY.file_name
    records = records_path(store, path.name)
    records.write_bytes(records.read_bytes()[:-1])
    return path


@pytest.mark.parametrize(
    ("damage", "what", "repairable"),
    [
        (damaged_records, "line 3: not a line of a tuning file", True),
        (foreign_records, f"line 1: it belongs to {KEY}/{SHASH}", True),
        (damaged_plan, "at `$.tasks`", True),
        (damaged_build, "not a JSON object", True),
        (damaged_library, "is damaged (its bytes have another SHA-256)", True),
        (lost_library, "is missing", True),
        (damaged_manifest, "its manifest is damaged", True),
        (foreign_kernels, "its manifest has the digest of other bytes", True),
        (damaged_baseline, "damaged baseline: ", False),
        (old_baseline, "not a baseline of schema 2", False),
        (empty_baseline, "Expecting value", False),
        (baseline_without_its_library, f"artifact {'ab' * 6} is missing", False),
        (baseline_without_its_untuned_library, f"artifact {'cd' * 6} is missing", False),
        (baseline_with_damaged_records, ".records.jsonl.gz: not a gzip file: ", False),
    ],
)
def test_each_kind_of_damage_is_one_problem_that_a_repair_sets_aside(
    full: Store, damage: Callable[[Store], Path], what: str, repairable: bool
) -> None:
    path = damage(full)
    before = contents(full.root)
    found = list(problems(full))
    assert [(one.path, one.repairable) for one in found] == [(path, repairable)]
    assert what in found[0].what
    # Nothing is changed by looking.
    assert contents(full.root) == before
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        repair(full, found[0])
    if not repairable:
        assert contents(full.root) == before
        return
    assert list(problems(full)) == []
    # Set aside, not lost: what was there is there, under the other name or its own.
    assert path.with_name(f"{path.name}.damaged").exists()
    assert set(before.values()) <= set(contents(full.root).values())


def test_a_repair_keeps_the_valid_lines(full: Store) -> None:
    damaged_records(full)
    for problem in list(problems(full)):
        repair(full, problem)
    assert read_with_warnings(full) == (workload(record(1e-3)), [])


def test_a_problem_of_records_that_has_gone_needs_no_repair(store: Store) -> None:
    repair(store, StoreProblem(path=path_of(store), what="it was damaged"))
    assert not path_of(store).exists()


def test_a_copy_under_a_name_with_dots_is_repaired_too(full: Store) -> None:
    copy = put(path_of(full, f"{SHASH}.orig"), path_of(full).read_bytes())
    (problem,) = problems(full)
    assert problem.path == copy
    repair(full, problem)
    assert list(problems(full)) == []


def test_a_damaged_library_that_a_baseline_needs_is_two_problems(full: Store) -> None:
    library = damaged_library(full)
    path = put_baseline(full, library.name, "other")
    what = f"artifact {library.name[:12]} is damaged (its bytes have another SHA-256)"
    assert list(problems(full)) == [
        StoreProblem(path=library, what=what),
        StoreProblem(path=path, what=what, repairable=False),
    ]


UNSIGNED = "not signed, although TVMTUNE_KEY is set"
OTHERS = "signed with another key than TVMTUNE_KEY, or changed after it was signed"


@pytest.mark.parametrize(("first", "what"), [("", UNSIGNED), ("theirs", OTHERS)])
def test_with_a_key_what_it_did_not_sign_is_a_problem_but_a_plan(
    store: Store, use_key: Callable[[str], None], first: str, what: str
) -> None:
    use_key(first)
    add_to_workload(store, KEY, workload(record(1e-3)))
    folder = put_artifact(store, b"a library")
    build = put_build(store, "b", folder.name)
    put_plan(store, "mlp")
    path = put_baseline(store, folder.name)
    assert list(problems(store)) == []
    before = contents(store.root)
    use_key("ours")
    manifest = f"artifact {folder.name[:12]}: its manifest is damaged ({what})"
    found = list(problems(store))
    assert found == [
        StoreProblem(path=path_of(store), what=what),
        StoreProblem(path=build, what=what),
        StoreProblem(path=folder, what=manifest),
        StoreProblem(path=path, what=what, repairable=False),
    ]
    for problem in found:
        repair(store, problem)
    assert set(before.values()) <= set(contents(store.root).values())
    assert path.exists()
    use_key(first)
    assert [one.path for one in problems(store)] == [path]


@pytest.mark.parametrize("key", ["", "ours"])
def test_a_sound_store_has_no_problem_with_and_without_the_key_that_signed_it(
    store: Store, use_key: Callable[[str], None], key: str
) -> None:
    use_key("ours")
    add_to_workload(store, KEY, workload(record(1e-3)))
    folder = put_artifact(store, b"a library")
    put_build(store, "b", folder.name)
    put_baseline(store, folder.name)
    use_key(key)
    assert list(problems(store)) == []


def test_a_baseline_under_anothers_name_is_a_problem(full: Store) -> None:
    path = put(full.baselines / "x.json", (full.baselines / IDENTITY.file_name).read_bytes())
    assert [one.path for one in problems(full)] == [path]


def test_a_baseline_without_its_records_is_a_problem(full: Store) -> None:
    records_path(full, IDENTITY.file_name).unlink()
    assert [one.path for one in problems(full)] == [full.baselines / IDENTITY.file_name]


def test_what_is_nested_too_deeply_is_a_problem_too(full: Store) -> None:
    path = put(full.baselines / "x.json", b"[" * 100_000)
    folder = put_artifact(full, b"another library")
    put(folder / "manifest.json", b"[" * 100_000)
    assert [one.path for one in problems(full)] == [folder, path]
