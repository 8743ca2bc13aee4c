"""`tvmtune db merge`: what it merges, what it says, and what it refuses."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from pytest_tvmtune.cli import main
from pytest_tvmtune.store.layout import Store, open_store
from pytest_tvmtune.store.tuning.workload_files import add_to_workload, stored_keys
from tests.support.sample_records import KEY, SHASH, path_of, put, record, served, workload
from tests.support.sample_store import contents, put_case, put_plan

Run = Callable[..., tuple[int, str, str]]
OTHER = "ff" * 8


@pytest.fixture
def machines(tmp_path: Path) -> tuple[Store, Store]:
    """The stores of two machines, which share a workload."""
    one, two = (open_store(tmp_path / name) for name in ("one", "two"))
    add_to_workload(one, KEY, workload(record(1e-3, "a"), served=(served(64),)))
    add_to_workload(two, KEY, workload(record(2e-3, "b"), served=(served(32),)))
    add_to_workload(two, KEY, workload(record(3e-3), shash=OTHER))
    put_case(one)
    return one, two


def test_stores_are_merged_and_counted(
    store: Store, run: Run, machines: tuple[Store, Store]
) -> None:
    one, two = machines
    told = (
        "merged 2 workloads (2 new or changed), 0 sample files (0 new or changed), and 1 baseline "
        "(1 new or changed)"
    )
    told += f" into {store.root}\n"
    assert run("db", "merge", one.root, two.root) == (0, told, "")
    assert list(stored_keys(store)) == [(KEY, SHASH), (KEY, OTHER)]
    assert run("db", "verify") == (0, "the store has no problems\n", "")
    before = contents(store.root)
    code, out, _ = run("db", "merge", two.root, one.root)
    assert (code, out) == (0, told.replace("(2 new", "(0 new").replace("(1 new", "(0 new"))
    assert contents(store.root) == before


def test_merging_makes_the_store(tmp_path: Path, machines: tuple[Store, Store]) -> None:
    assert main(["db", "merge", str(machines[0].root), "--dir", str(tmp_path / "new")]) == 0
    assert (tmp_path / "new" / "CACHEDIR.TAG").is_file()


def test_a_store_from_git_has_no_tag(run: Run, machines: tuple[Store, Store]) -> None:
    one, _ = machines
    (one.root / "CACHEDIR.TAG").unlink()
    assert run("db", "merge", one.root)[0] == 0


def test_what_is_left_out_is_exit_code_1(
    store: Store, run: Run, machines: tuple[Store, Store]
) -> None:
    one, two = machines
    put(path_of(two), path_of(two).read_bytes() + b"garbage\n")
    put_case(store, code=b"mine")
    another = (
        f"{store.root} has another baseline of this case; to replace it, use `tvmtune baselines "
        "export` and `tvmtune baselines import`"
    )
    code, out, err = run("db", "merge", one.root, two.root)
    assert (code, err) == (1, "")
    merged = (
        "merged 2 workloads (2 new or changed), 0 sample files (0 new or changed), and 0 baselines "
        "(0 new or changed)"
    )
    assert out.splitlines() == [
        f"left out: {path_of(two)}: line 4: not a line of a tuning file",
        f"left out: {next(one.baselines.glob('*.json'))}: {another}",
        f"{merged} into {store.root}",
    ]
    # As the message says: repair it, then merge again.
    assert main(["db", "verify", "--repair", "--dir", str(two.root)]) == 0
    code, out, _ = run("db", "merge", two.root)
    assert (code, out.count("merged 2 workloads (1 new or changed)")) == (0, 1)


@pytest.mark.parametrize("name", ["absent", "empty"])
def test_a_folder_that_is_no_store_is_refused_before_anything_is_merged(
    store: Store, run: Run, machines: tuple[Store, Store], tmp_path: Path, name: str
) -> None:
    (tmp_path / "empty").mkdir()
    before = contents(store.root)
    code, out, err = run("db", "merge", machines[0].root, tmp_path / name)
    assert (code, out) == (1, "")
    assert err == (
        f"tvmtune: {tmp_path / name} is not a store: give a folder that contains tuning/\n"
    )
    assert contents(store.root) == before


def test_what_is_made_again_stays_where_it_is(
    store: Store, run: Run, machines: tuple[Store, Store]
) -> None:
    one, _ = machines
    put_plan(one, "mlp", SHASH)
    put(one.runs, b"history")
    put(one.logs / "x.log", b"log")
    run("db", "merge", one.root)
    parts = {path.name for path in store.root.iterdir() if path.name != "locks"}
    assert parts == {"CACHEDIR.TAG", ".gitignore", "tuning", "artifacts", "baselines"}
