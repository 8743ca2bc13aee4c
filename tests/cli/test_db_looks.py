"""`tvmtune db stats`, `show` and `verify`: what is in a store and whether it is sound."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from pytest_tvmtune.cli import main
from pytest_tvmtune.machine.fingerprint import fingerprint
from pytest_tvmtune.store.layout import Store
from pytest_tvmtune.store.tuning.workload_files import add_to_workload
from tests.support.sample_records import (
    HEAD,
    KEY,
    RECORD,
    SHASH,
    path_of,
    put,
    record,
    refusal,
    served,
    workload,
)
from tests.support.sample_store import contents, put_artifact, put_baseline, put_build, put_plan

Run = Callable[..., tuple[int, str, str]]
OTHER = "ff" * 8
HERE = fingerprint().cpu
AT_S = time.mktime((2024, 5, 6, 7, 8, 0, 0, 0, -1))
KNOWN = workload(
    record(1.5e-3, "a", cpu=HERE),
    record(1e-3, "b", cpu="other CPU"),
    served=(
        served(64, 8, at_s=AT_S, spent=8, valid=6),
        served(8, run_id="cut", at_s=AT_S + 60, spent=2, valid=0, complete=False, reason="killed"),
    ),
    refused=(refusal(record(1.0, "c"), "it doesn't build"),),
)


def cells(line: str) -> list[str]:
    """Return the cells of a table's line, which stand at least two blanks apart."""
    return re.split(r"\s{2,}", line.strip())


@pytest.fixture
def known(store: Store) -> Store:
    add_to_workload(store, KEY, KNOWN)
    add_to_workload(store, KEY, workload(shash=OTHER, name="fused_relu"))
    put_plan(store, "mlp", SHASH, "0" * 16)
    return store


def test_stats_are_a_table_of_targets_and_the_cpus(known: Store, run: Run) -> None:
    add_to_workload(known, "cuda-tvm0.27-0", workload(record(1.0, cpu="GPU")))
    before = contents(known.root)
    code, out, err = run("db", "stats")
    assert (code, err) == (0, "")
    lines = out.splitlines()
    assert cells(lines[0]) == [
        "target", "workloads", "tuned", "records", "trials", "valid", "failed", "size"
    ]  # fmt: skip
    assert cells(lines[1])[:7] == ["cuda-tvm0.27-0", "1", "1", "1", "0", "0", "0"]
    assert cells(lines[2])[:7] == [KEY, "2", "1", "2", "10", "6", "4"]
    assert re.fullmatch(r"[\d.]+ k?B", cells(lines[2])[7])
    assert lines[3:] == [f"measured on {cpu}" for cpu in sorted([HERE, "other CPU", "GPU"])]
    assert contents(known.root) == before


def test_stats_of_an_empty_store_are_headings(run: Run) -> None:
    code, out, _ = run("db", "stats")
    assert code == 0
    assert len(out.splitlines()) == 1


def test_a_models_tasks(known: Store, run: Run) -> None:
    put_plan(known, "mlp", OTHER, prepack=True)
    code, out, _ = run("db", "show", "mlp")
    assert code == 0
    lines = out.splitlines()
    assert lines[0] == f"mlp, plain, {KEY}"
    assert cells(lines[1]) == ["task", "hash", "calls", "best", "trials", "valid", "records"]
    # The best of this CPU; the other CPU's faster one isn't what is applied here.
    assert cells(lines[2]) == ["task 00", SHASH, "2", "1.5 ms", "10", "6", "2"]
    assert cells(lines[3]) == ["task 00", "0" * 16, "2", "-", "0", "0", "0"]
    assert lines[4:6] == ["", f"mlp, prepacked, {KEY}"]
    assert cells(lines[7]) == ["task ff", OTHER, "2", "-", "0", "0", "0"]


@pytest.mark.parametrize("name", ["fused_matmul", SHASH, SHASH[:5]])
def test_all_that_is_known_of_a_workload(known: Store, run: Run, name: str) -> None:
    code, out, _ = run("db", "show", name)
    assert code == 0
    digests = [one.digest[:12] for one in reversed(KNOWN.records)]
    asked = [
        "64 trials requested for the model, at most 8 for each task",
        "8 trials requested for the model",
    ]
    assert out.splitlines() == [
        f"fused_matmul  {SHASH}  {KEY}",
        f"  record      1 ms  {digests[0]}  other CPU, 4 threads",
        f"  record    1.5 ms  {digests[1]}  {HERE}, 4 threads",
        f"  tuned   2024-05-06 07:08  {asked[0]}; 8 spent, 6 valid",
        f"  tuned   2024-05-06 07:09  {asked[1]}; 2 spent, 0 valid, interrupted: killed",
        f"  refused {KNOWN.refused[0].digest[:12]}  it doesn't build",
        "",
    ]


def test_a_name_that_nothing_has_is_exit_code_1_and_says_what_there_is(
    known: Store, run: Run
) -> None:
    put_plan(known, "cnn")
    code, out, err = run("db", "show", "fused")
    assert (code, out) == (1, "")
    assert err == (
        f"tvmtune: {known.root} has no model, task, or hash 'fused'; its models: cnn, mlp\n"
    )


def test_no_model_is_known_in_an_empty_store(run: Run) -> None:
    code, _, err = run("db", "show", "mlp")
    assert code == 1
    assert err.endswith("its models: none\n")


@pytest.mark.parametrize("command", [["stats"], ["show", "x"], ["verify"], ["export", "x"],
                                     ["prune", "--unreferenced"]])  # fmt: skip
def test_a_folder_that_is_no_store_is_not_made_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], command: list[str]
) -> None:
    (tmp_path / "folder").mkdir()
    for folder in (tmp_path / "folder", tmp_path / "absent"):
        assert main(["db", *command, "--dir", str(folder)]) == 1
        captured = capsys.readouterr()
        assert captured.out == ""
        assert captured.err == (
            f"tvmtune: {folder} is not a store: give its folder with --dir "
            "(pytest makes .tvmtune)\n"
        )
    assert [path.name for path in tmp_path.rglob("*")] == ["folder"]


def test_a_sound_store(known: Store, run: Run) -> None:
    assert run("db", "verify") == (0, "the store has no problems\n", "")
    assert run("db", "verify", "--repair") == (0, "the store has no problems\n", "")


@pytest.fixture
def damaged(known: Store) -> dict[Path, str]:
    """What is damaged, in the order it is told."""
    library = put_artifact(known, b"code")
    put_build(known, "sound", library.name)
    (library / "model.so").write_bytes(b"codE")
    return {
        put(path_of(known), HEAD + RECORD + b"garbage\n"): "line 3: not a line of a tuning file",
        put(known.plans / "x.json", b"[]"): "not a JSON object",
        put(known.builds / "x.json", b"[]"): "not a JSON object",
        library: f"artifact {library.name[:12]} is damaged (its bytes have another SHA-256)",
    }


def test_verify_tells_each_problem_and_changes_nothing(
    known: Store, damaged: dict[Path, str], run: Run
) -> None:
    before = contents(known.root)
    code, out, err = run("db", "verify")
    assert code == 1
    assert out.splitlines() == [*(f"{p}: {what}" for p, what in damaged.items()), "4 problems"]
    assert err == ""
    assert contents(known.root) == before


def test_repair_sets_aside_and_then_the_store_is_sound(
    known: Store, damaged: dict[Path, str], run: Run
) -> None:
    code, out, err = run("db", "verify", "--repair")
    assert code == 0
    assert out.splitlines() == [
        *(f"{p}: {what}; set aside" for p, what in damaged.items()),
        "the store has no problems",
    ]
    assert err == ""
    assert all(path.with_name(f"{path.name}.damaged").exists() for path in damaged)
    assert run("db", "verify") == (0, "the store has no problems\n", "")
    assert f"  record      1 ms  {record(1e-3).digest[:12]}" in run("db", "show", SHASH)[1]


def test_a_baseline_is_never_repaired_away(known: Store, run: Run) -> None:
    path = put_baseline(known, "ab" * 32)
    put(known.plans / "x.json", b"[]")
    code, out, _ = run("db", "verify", "--repair")
    assert code == 1
    assert out.splitlines() == [
        f"{known.plans / 'x.json'}: not a JSON object; set aside",
        f"{path}: artifact {'ab' * 6} is missing",
        "1 problem",
    ]
    assert path.exists()


def test_a_time_beyond_the_calendar_is_shown_somehow(store: Store, run: Run) -> None:
    add_to_workload(store, KEY, workload(served=(served(64, at_s=1e300),)))
    assert run("db", "show", SHASH)[0] == 0


def test_a_plan_of_other_values_stops_no_command(known: Store, run: Run) -> None:
    put(known.plans / "x.json", b'{"model": 5, "target_key": "k", "prepack": 1, "tasks": []}')
    assert run("db", "show", "mlp")[0] == 0
