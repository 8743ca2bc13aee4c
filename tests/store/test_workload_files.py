"""Files of tuning records: what is stored comes back, whoever else writes meanwhile."""

from __future__ import annotations

import json
import multiprocessing
import subprocess
import threading
import time
import warnings
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from pytest_tvmtune.store.layout import Store
from pytest_tvmtune.store.locks import folder_lock
from pytest_tvmtune.store.tuning.record_lines import dump
from pytest_tvmtune.store.tuning.records import KEPT_RECORDS, Workload, merge
from pytest_tvmtune.store.tuning.workload_files import (
    add_to_workload,
    check_workload_file,
    drop_workload,
    read_workload,
    refuse_records,
    stored_keys,
)
from tests.support.sample_records import (
    HEAD,
    KEY,
    RECORD,
    SERVED,
    SHASH,
    add_many,
    head,
    line,
    path_of,
    put,
    read_with_warnings,
    record,
    refusal,
    served,
    untuned,
    workload,
)

FULL = workload(
    record(1e-3, "a"),
    record(2e-3, "b", cpu="other CPU"),
    served=(
        served(8, 2, reason="all 2 candidates failed: grüße\n", valid=0),
        served(64, at_s=2e9 + 0.5, complete=False),
    ),
    refused=(refusal(record(5e-4, "c"), "it didn't apply"),),
    untuned=(untuned(4e-3, "other CPU"), untuned(3e-3)),
)


def test_round_trip(store: Store) -> None:
    assert read_workload(store, KEY, SHASH) is None
    assert add_to_workload(store, KEY, FULL) == FULL
    assert read_workload(store, KEY, SHASH) == FULL
    assert check_workload_file(store, KEY, SHASH) == (FULL, "")
    assert read_workload(store, "other-key", SHASH) is None
    rows = [json.loads(text) for text in path_of(store).read_text().splitlines()]
    kinds = ["workload", "record", "record", "untuned", "untuned", "served", "served", "refused"]
    assert [row["kind"] for row in rows] == kinds
    assert (rows[0]["key"], rows[0]["shash"]) == (KEY, SHASH)


def test_lines_from_before_they_named_an_environment_are_read(store: Store) -> None:
    row = asdict(served(64))
    del row["environment"]
    put(path_of(store), HEAD + RECORD + line("served", **row))
    found, problem = check_workload_file(store, KEY, SHASH)
    assert problem == ""
    assert found is not None
    assert found.served == (served(64),)


def test_adding_what_is_known_writes_nothing(store: Store) -> None:
    add_to_workload(store, KEY, FULL)
    before = path_of(store).stat().st_ino
    add_to_workload(store, KEY, workload(record(5.0, "a"), record(1e-9, "c"), served=FULL.served))
    assert path_of(store).stat().st_ino == before
    add_to_workload(store, KEY, workload(record(5.0, "new")))
    assert path_of(store).stat().st_ino != before


def test_a_run_replaces_its_own_line_in_the_ledger(store: Store) -> None:
    for spent, complete in ((2, False), (4, False), (4, True)):
        now = served(64, run_id="r", spent=spent, complete=complete)
        known = add_to_workload(store, KEY, workload(served=(now,)))
        assert known.served == (now,)
    assert path_of(store).read_text().count('"served"') == 1


def test_refused_records_stay_away(store: Store) -> None:
    bad, good = record(1e-3, "bad"), record(2e-3, "good")
    known = add_to_workload(store, KEY, workload(bad, good, served=(served(64),)))
    refuse_records(store, KEY, known, [bad], "it doesn't build")
    add_to_workload(store, KEY, workload(record(1e-4, "bad")))
    found = read_workload(store, KEY, SHASH)
    assert found == replace(known, records=(good,), refused=(refusal(bad),))
    assert b'"bad"' not in path_of(store).read_bytes()


def test_a_task_is_called_what_it_was_called_last(store: Store) -> None:
    add_to_workload(store, KEY, workload(record(1.0), name="then"))
    assert add_to_workload(store, KEY, workload(name="now")).name == "now"
    found = read_workload(store, KEY, SHASH)
    assert found == workload(record(1.0), name="now")


def test_dropping_a_file_sets_it_aside(store: Store) -> None:
    add_to_workload(store, KEY, FULL)
    content = path_of(store).read_bytes()
    with pytest.warns(UserWarning, match=rf"{SHASH}.jsonl is damaged \(TVM crashed\)") as caught:
        assert drop_workload(store, KEY, SHASH, "TVM crashed")
    assert len(caught) == 1
    aside = path_of(store).with_name(f"{SHASH}.jsonl.damaged")
    assert aside.read_bytes() == content
    assert read_with_warnings(store) == (None, [])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert not drop_workload(store, KEY, SHASH, "again")


def test_stored_keys_are_in_order_without_what_is_no_file_of_records(store: Store) -> None:
    assert list(stored_keys(store)) == []
    for key, shash in (("b", "2"), ("b", "1"), ("a", "3")):
        add_to_workload(store, key, workload(shash=shash))
    put(store.tuning / "a" / "3.jsonl.damaged", b"")
    assert list(stored_keys(store)) == [("a", "3"), ("b", "1"), ("b", "2")]


def test_lines_merged_by_git_and_ended_as_on_windows_are_no_damage(store: Store) -> None:
    # A union merge keeps the lines of both sides, those that both have twice too.
    theirs = line("record", **asdict(record(5e-4, "theirs")))
    longer = line("served", **asdict(served(64, spent=9)))
    renamed = head(name="renamed")
    merged = HEAD + RECORD + renamed + SERVED + longer + theirs + RECORD + SERVED
    put(path_of(store), merged.replace(b"\n", b"\r\n"))
    found, said = read_with_warnings(store)
    assert said == []
    assert found is not None
    assert [r.mean_s for r in found.records] == [5e-4, 1e-3]
    assert found.served == (served(64, spent=9),)
    assert found.name == "renamed"


def test_gits_union_merge_of_two_sides_knows_what_a_merge_of_them_does(
    store: Store, tmp_path: Path
) -> None:
    base = workload(record(1e-3), served=(served(8),))
    ours = workload(*base.records, record(5e-4, "ours"), served=(served(8), served(64)))
    theirs = workload(record(2e-3, "theirs"), served=(served(8, spent=3), served(32)),
                      refused=(refusal(record(1e-3)),))  # fmt: skip
    for name, side in (("ours", ours), ("base", base), ("theirs", theirs)):
        (tmp_path / name).write_text(dump(KEY, side))
    names = ["ours", "base", "theirs"]
    done = subprocess.run(
        ["git", "merge-file", "--union", "--stdout", *names],
        cwd=tmp_path, capture_output=True, timeout=60, check=True,
    )  # fmt: skip
    put(path_of(store), done.stdout)
    # What `theirs` dropped as refused is no record of either.
    assert read_with_warnings(store) == (merge(ours, theirs), [])


def test_a_refused_line_of_one_side_drops_the_other_sides_record(store: Store) -> None:
    refused = line("refused", **asdict(refusal(record(1e-3))))
    put(path_of(store), HEAD + refused + RECORD + line("record", **asdict(record(2e-3, "x"))))
    found, said = read_with_warnings(store)
    assert said == []
    assert found is not None
    assert [r.mean_s for r in found.records] == [2e-3]


def test_a_repair_never_overwrites_what_another_process_wrote_meanwhile(store: Store) -> None:
    path = put(path_of(store), HEAD + RECORD + b"garbage\n")
    found: list[Workload | None] = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with folder_lock(path.parent):
            reader = threading.Thread(target=lambda: found.append(read_workload(store, KEY, SHASH)))
            reader.start()
            # It has read the damaged file and waits for the lock; somebody else was faster.
            time.sleep(0.3)
            better = line("record", **asdict(record(1e-4, "better")))
            path.write_bytes(HEAD + RECORD + better)
        reader.join(30)
    assert len(found) == 1
    kept = read_workload(store, KEY, SHASH)
    assert kept is not None
    assert [r.mean_s for r in kept.records] == [1e-4, 1e-3]
    assert found == [kept]


def test_a_file_that_goes_before_its_repair_is_none(store: Store) -> None:
    path = put(path_of(store), HEAD + b"garbage\n")
    found: list[Workload | None] = []
    with folder_lock(path.parent):
        reader = threading.Thread(target=lambda: found.append(read_workload(store, KEY, SHASH)))
        reader.start()
        time.sleep(0.3)
        path.unlink()
    reader.join(30)
    assert found == [None]


def test_nothing_is_lost_between_processes_that_write_to_one_workload(store: Store) -> None:
    context = multiprocessing.get_context("spawn")
    writers, times = 4, KEPT_RECORDS
    barrier = context.Barrier(writers)
    target: Callable[..., None] = add_many
    processes = [
        context.Process(target=target, args=(store.root, writer, times, barrier))
        for writer in range(writers)
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
    assert [process.exitcode for process in processes] == [0] * writers
    found, said = read_with_warnings(store)
    assert said == []
    assert found is not None
    cpus = sorted((r.cpu, round(r.mean_s * 1e3)) for r in found.records)
    assert cpus == [(f"CPU {w}", n + 1) for w in range(writers) for n in range(times)]
    assert {s.trials for s in found.served} == {
        100 * w + n for w in range(writers) for n in range(times)
    }
    left = sorted(p.name for p in path_of(store).parent.iterdir())
    assert left in ([f"{SHASH}.jsonl"], [f"{SHASH}.jsonl", "folder.lock"])
