"""The history: what is kept, for how long, and what kills, several writers and damage do to it."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from pytest_tvmtune.core.errors import StoreError
from pytest_tvmtune.report.json_report import cases_of, make_report
from pytest_tvmtune.store import run_history
from pytest_tvmtune.store.inventory import problems, repair
from pytest_tvmtune.store.layout import Store, open_store
from pytest_tvmtune.store.run_history import (
    add_run,
    find_points,
    history_problem,
    list_runs,
    read_report,
    revision_of,
)
from tests.support import sample_runs
from tests.support.sample_runs import case, keep


def writer(store: Store, name: str, count: int) -> subprocess.Popen[str]:
    command = [sys.executable, sample_runs.__file__, str(store.root), name, str(count)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def test_a_run_is_given_back_as_its_report_was(store: Store) -> None:
    report = make_report([case("b", None), case("a", 2e-3)], {**sample_runs.MACHINE, "rack": 7})
    assert add_run(store, report, "abc-dirty") == (1, "")
    assert read_report(store, 1) == report
    assert [one.name for one in cases_of(report)] == ["a", "b"]
    (run,) = list_runs(store)
    assert (run.run, run.at, run.revision, run.cases) == (1, report["created_at"], "abc-dirty", 2)
    (point,) = find_points(store, "a[llvm]")
    assert (point.median_s, point.slowdown_ratio, point.verdict) == (2e-3, 1.25, "PASS")
    (point,) = find_points(store, "b[llvm]")
    assert (point.median_s, point.verdict, point.num_threads) == (None, "", 0)


def test_a_case_is_found_by_its_name_first_and_by_a_part_of_it_else(store: Store) -> None:
    grouped = "t.py::test_mlp[llvm]@rack"
    keep(store, case("mlp", nodeid=grouped), case("mlp_big"), case("x", outcome="failed"))
    keep(store, case("mlp", nodeid="t.py::test_mlp[llvm]"))
    assert [point.run for point in find_points(store, "mlp[llvm]")] == [1, 2]
    assert [point.run for point in find_points(store, "t.py::test_mlp[llvm]")] == [1, 2]
    assert {point.label for point in find_points(store, "mlp")} == {"mlp[llvm]", "mlp_big[llvm]"}
    assert find_points(store, "%") == []
    assert [(run.cases, run.failed) for run in list_runs(store)] == [(3, 1), (1, 0)]


def test_runs_from_before_labels_had_parameters_belong_to_the_same_case(store: Store) -> None:
    nodeid = "t.py::test_operator[relu-llvm]"
    before = case("operator", nodeid=nodeid)
    del before["params"]
    keep(store, before)
    keep(store, {**before, "params": "relu"}, case("operator", nodeid="t.py::test_operator[gelu]"))
    points = find_points(store, "operator[relu-llvm]")
    assert [(point.run, point.label) for point in points] == [
        (1, "operator[llvm]"),
        (2, "operator[relu-llvm]"),
    ]


def test_a_test_that_ran_twice_in_one_session_counts_once(store: Store) -> None:
    keep(store, case("mlp", 1e-3, outcome="failed"), case("mlp", 2e-3))
    (point,) = find_points(store, "mlp[llvm]")
    assert (point.median_s, point.outcome) == (2e-3, "passed")


def test_numbers_are_kept_for_good_and_reports_for_a_while(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run_history, "KEPT_REPORTS", 2)
    for _ in range(4):
        keep(store, case())
    assert [point.run for point in find_points(store, "mlp[llvm]")] == [1, 2, 3, 4]
    assert len(read_report(store, 3)["cases"]) == 1
    with pytest.raises(StoreError, match="the report of run 2 was removed"):
        read_report(store, 2)
    with pytest.raises(StoreError, match="has no run 9; to list the runs"):
        read_report(store, 9)


def test_writers_wait_for_each_other_and_a_killed_one_leaves_whole_runs(store: Store) -> None:
    """Two write; a third is killed, again and again, wherever it then is."""
    writers = [writer(store, "one", 25), writer(store, "two", 25)]
    told = 0
    for _ in range(4):
        killed = writer(store, "killed", 1000)
        assert killed.stdout is not None
        # It has begun: what it told is committed.
        told += bool(killed.stdout.readline())
        killed.send_signal(signal.SIGKILL)
        assert killed.wait() == -signal.SIGKILL
        killed.stdout.close()
    for process in writers:
        process.communicate(timeout=120)
        assert process.returncode == 0
    assert history_problem(store) == ""
    runs = list_runs(store)
    assert {run.cases for run in runs} == {2}
    for name in ("one", "two"):
        assert len(find_points(store, f"{name}[llvm]")) == 25
    assert len(find_points(store, "killed[llvm]")) >= told == 4
    assert [len(read_report(store, run.run)["cases"]) for run in runs] == [2] * len(runs)


def test_what_was_being_written_when_it_was_killed_is_undone(store: Store) -> None:
    keep(store, case())
    code = (
        "import os, sqlite3, sys\n"
        "c = sqlite3.connect(sys.argv[1], isolation_level=None)\n"
        # So small a cache puts pages into the file, and the journal beside it, before the commit.
        "c.execute('PRAGMA cache_size = 1'); c.execute('BEGIN IMMEDIATE')\n"
        "c.executemany('INSERT INTO runs (at, revision, cpu, tvm, head) VALUES (?, ?, ?, ?, ?)',\n"
        "    [('x' * 4000,) * 5] * 200)\n"
        "os.kill(os.getpid(), 9)\n"
    )
    subprocess.run([sys.executable, "-c", code, str(store.runs)], check=False)
    assert store.runs.with_name("runs.sqlite-journal").stat().st_size
    assert [run.run for run in list_runs(store)] == [1]
    assert keep(store, case()) == 2


@pytest.mark.parametrize(
    "damage",
    [b"not a database, but long enough to be taken for one" * 4, None],
    ids=["foreign", "pages"],
)
def test_a_damaged_file_is_set_aside_and_a_new_one_begun(
    store: Store, damage: bytes | None
) -> None:
    for _ in range(20):
        keep(store, case(), case(prepack=True))
    if damage is None:
        whole = store.runs.read_bytes()
        damage = whole[:4096] + b"\xff" * (len(whole) - 4096)
    store.runs.write_bytes(damage)
    store.runs.with_name("runs.sqlite-journal").write_bytes(b"of the old one")
    assert history_problem(store)
    assert [one.path for one in problems(store)] == [store.runs]
    with pytest.raises(StoreError):
        find_points(store, "mlp")
    run, remark = add_run(store, make_report([case()], sample_runs.MACHINE), "")
    assert run == 1
    assert remark.startswith("runs.sqlite is damaged (")
    assert store.runs.with_name("runs.sqlite.damaged").read_bytes() == damage
    assert [one.run for one in list_runs(store)] == [1]
    assert history_problem(store) == ""


def test_verify_repairs_it_too(store: Store) -> None:
    store.runs.write_bytes(b"x" * 1000)
    (problem,) = problems(store)
    repair(store, problem)
    assert not store.runs.exists()
    assert list(problems(store)) == []


def test_what_is_no_damage_is_left_alone(store: Store) -> None:
    with pytest.raises(StoreError, match="does not exist; a run of pytest"):
        list_runs(store)
    assert not store.runs.exists()
    # A writer that was killed before its first commit leaves this.
    store.runs.touch()
    with pytest.raises(StoreError, match="has no runs"):
        list_runs(store)
    assert history_problem(store) == ""
    keep(store, case())
    connection = sqlite3.connect(store.runs)
    connection.execute("PRAGMA user_version = 2")
    connection.close()
    content = store.runs.read_bytes()
    with pytest.raises(StoreError, match=r"has version 2, .* reads versions up to 1; upgrade"):
        keep(store, case())
    assert list(problems(store)) == []
    assert store.runs.read_bytes() == content
    store.runs.unlink()
    store.runs.mkdir()
    with pytest.raises(StoreError, match="can't use "):
        keep(store, case())


def test_a_revision_is_gits(tmp_path: Path) -> None:
    assert revision_of(tmp_path) == ""
    assert revision_of(tmp_path / "absent") == ""
    identity = {f"GIT_{who}_{what}": "a@b.c" for who in ("AUTHOR", "COMMITTER")
                for what in ("NAME", "EMAIL")}  # fmt: skip
    environment = {**os.environ, **identity}
    (tmp_path / "file").write_text("1")
    for command in (["init", "-q"], ["add", "file"], ["commit", "-qm", "x"]):
        subprocess.run(["git", *command], cwd=tmp_path, env=environment, check=True)
    clean = revision_of(tmp_path)
    assert len(clean) == 12
    (tmp_path / "file").write_text("2")
    assert revision_of(tmp_path) == f"{clean}-dirty"


def test_a_store_whose_path_is_no_utf_8(tmp_path: Path) -> None:
    store = open_store(tmp_path / os.fsdecode(b"b\xfcro"))
    keep(store, case("a"))
    assert len(list_runs(store)) == 1
