"""Tuning records: merging, the ledger, damaged files, concurrent processes."""

from __future__ import annotations

import json
import multiprocessing
import threading
import time
import warnings
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
from sample_records import KEY, SHASH, add_many, data, record, served, workload

from pytest_tvmtune.store.layout import Store
from pytest_tvmtune.store.locks import folder_lock
from pytest_tvmtune.store.records import (
    KEPT_RECORDS,
    Workload,
    add_to_workload,
    merge,
    read_workload,
    target_key,
)

FULL = workload(
    record(1e-3, "a"), record(2e-3, "b", cpu="other CPU"), served=(served(64), served(8, 2))
)


def path_of(store: Store, shash: str = SHASH) -> Path:
    return store.tuning / KEY / f"{shash}.jsonl"


def test_round_trip(store: Store) -> None:
    assert read_workload(store, KEY, SHASH) is None
    assert add_to_workload(store, KEY, FULL) == FULL
    assert read_workload(store, KEY, SHASH) == FULL
    assert read_workload(store, "other-key", SHASH) is None
    kinds = [json.loads(line)["kind"] for line in path_of(store).read_text().splitlines()]
    assert kinds == ["workload", "record", "record", "served", "served"]


def test_adding_what_is_known_writes_nothing(store: Store) -> None:
    add_to_workload(store, KEY, FULL)
    before = path_of(store).stat().st_ino
    add_to_workload(store, KEY, workload(record(5.0, "a"), served=(served(64),)))
    assert path_of(store).stat().st_ino == before
    add_to_workload(store, KEY, workload(record(5.0, "new")))
    assert path_of(store).stat().st_ino != before


def test_merging_keeps_the_best_records_of_each_cpu_and_every_ledger_line_once() -> None:
    one = workload(
        *(record(i + 1.0, f"t{i}") for i in range(KEPT_RECORDS)), served=(served(1), served(2))
    )
    other = workload(
        record(0.5, "best"),
        record(99.0, "worst"),
        record(90.0, "only", cpu="other CPU"),
        served=(served(2), served(3)),
    )
    merged = merge(one, other)
    own = [r.mean_s for r in merged.records if r.cpu == "this CPU"]
    assert own == [0.5, *(i + 1.0 for i in range(KEPT_RECORDS - 1))]
    assert [r.mean_s for r in merged.records if r.cpu == "other CPU"] == [90.0]
    assert merged.served == (served(1), served(2), served(3))
    # Either order, again and again: the same knowledge.
    assert merge(other, one).records == merged.records
    assert merge(merged, other) == merged


def test_one_schedule_measured_twice_keeps_its_better_time_on_each_cpu() -> None:
    merged = merge(
        workload(record(2.0), record(3.0, cpu="other CPU")),
        workload(record(1.0), record(4.0, cpu="other CPU")),
    )
    assert [(r.cpu, r.mean_s) for r in merged.records] == [("this CPU", 1.0), ("other CPU", 3.0)]


def test_the_best_record_is_this_cpus_else_any() -> None:
    mine, faster = record(2.0, "mine"), record(1.0, "theirs", cpu="other CPU")
    both = workload(faster, record(3.0, "slow"), mine)
    assert both.best("this CPU") == mine
    assert both.best("a third CPU") == faster
    assert workload().best("this CPU") is None


def test_records_rank_by_the_mean_of_their_times() -> None:
    spread = replace(record(0.0), data=[*data(0.0)[:1], [1.0, 3.0], *data(0.0)[2:]])
    assert spread.mean_s == 2.0


@pytest.mark.parametrize(
    ("done", "asked", "enough"),
    [
        # (trials, cap) of the completed request, of the new one.
        ((64, None), (64, None), True),
        ((64, None), (32, None), True),
        ((64, None), (65, None), False),
        ((64, None), (64, 8), True),
        ((64, 8), (64, 8), True),
        ((64, 8), (64, 4), True),
        ((64, 8), (64, 9), False),
        ((64, 8), (64, None), False),
        ((64, 8), (65, 8), False),
        ((0, None), (0, None), True),
    ],
)
def test_a_request_at_least_as_large_is_enough(
    done: tuple[int, int | None], asked: tuple[int, int | None], enough: bool
) -> None:
    assert workload(served=(served(*done, spent=0),)).is_enough(*asked) is enough


def test_two_smaller_requests_do_not_add_up() -> None:
    both = workload(served=(served(64, 2), served(8, None)))
    assert not both.is_enough(64, None)
    assert not both.is_enough(32, 4)
    assert both.is_enough(8, None)
    assert not workload().is_enough(1, None)


def test_a_target_key_leaves_out_the_cores_and_keeps_the_minor_version() -> None:
    plain = target_key('{"kind": "llvm", "mcpu": "znver4"}', "0.27.0.post1")
    assert plain.startswith("llvm-tvm0.27-")
    same = [
        ('{"mcpu": "znver4", "kind": "llvm"}', "0.27.0.post1"),
        ('{"kind": "llvm", "mcpu": "znver4", "num-cores": 8}', "0.27.5"),
    ]
    other = [
        ('{"kind": "llvm", "mcpu": "znver3"}', "0.27.0"),
        ('{"kind": "llvm", "mcpu": "znver4"}', "0.28.0"),
    ]
    assert {target_key(*given) for given in same} == {plain}
    assert len({plain, *(target_key(*given) for given in other)}) == 3


def line(kind: str, **values: Any) -> bytes:
    return json.dumps({"kind": kind, **values}).encode() + b"\n"


HEAD = line("workload", name="fused_matmul", ir=f"ir of {SHASH}")
RECORD = line("record", **asdict(record(1e-3)))
SERVED = line("served", **asdict(served(64)))
KNOWN = workload(record(1e-3), served=(served(64),))
DAMAGE = {
    "truncated last line": RECORD[:-20],
    "last line without its end": line("served", **asdict(served(64)))[:-1],
    "blank line": b"\n",
    "null": b"null\n",
    "binary": b"\x00\xff\xfe\x80\n",
    "a number": b"5\n",
    "a list": b"[]\n",
    "foreign json": b'{"tool": "something else"}\n',
    "unknown kind": line("model", name="x"),
    "kind is a list": b'{"kind": []}\n',
    "conflict marker": b"<<<<<<< HEAD\n",
    "failed candidate": line("record", **{**asdict(record(1.0)), "data": data(1e10)}),
    "no times": line("record", **{**asdict(record(1.0)), "data": [[], [], {}, []]}),
    "times as text": line("record", **{**asdict(record(1.0)), "data": [[], ["1"], {}, []]}),
    "time is nan": line("record", **{**asdict(record(1.0)), "data": data(float("nan"))}),
    "record without cpu": line("record", data=data(1.0)),
    "record with more": line("record", **asdict(record(1.0)), surplus=1),
    "record without data": line("record", cpu="x", cores=1, num_threads=1),
    "cpu is a list": line("record", **{**asdict(record(1.0)), "cpu": []}),
    "served without trials": line("served", spent=1),
    "served with text": line("served", **{**asdict(served(1)), "trials": "many"}),
    "served with a list": line("served", **{**asdict(served(1)), "spent": [1]}),
    "workload without ir": line("workload", name="x"),
    "workload with a number": line("workload", name="x", ir=5),
    "deeply nested": b"[" * 100_000 + b"\n",
}


def read_with_warnings(store: Store) -> tuple[Workload | None, list[str]]:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        found = read_workload(store, KEY, SHASH)
    return found, [str(warning.message) for warning in caught]


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_line_is_set_aside_the_valid_ones_kept_with_one_warning(
    store: Store, damage: str
) -> None:
    path = path_of(store)
    path.parent.mkdir(parents=True)
    content = HEAD + RECORD + SERVED + DAMAGE[damage]
    path.write_bytes(content)
    found, said = read_with_warnings(store)
    assert found is not None
    assert replace(found, served=()) == replace(KNOWN, served=())
    assert set(found.served) == set(KNOWN.served)
    assert len(said) == 1
    assert path.name in said[0]
    aside = path.with_name(f"{path.name}.damaged")
    assert str(aside) in said[0]
    assert aside.read_bytes() == content
    # Repaired: the next read and a merge have nothing to complain about.
    again, said = read_with_warnings(store)
    assert again == found
    assert said == []
    assert add_to_workload(store, KEY, workload(record(5.0, "z"))).best("this CPU") == record(1e-3)


@pytest.mark.parametrize("content", [b"", RECORD + SERVED, b"\x00" * 100, b"null\n", b"{}"])
def test_a_file_without_its_workload_line_is_set_aside_whole(store: Store, content: bytes) -> None:
    path = path_of(store)
    path.parent.mkdir(parents=True)
    path.write_bytes(content)
    found, said = read_with_warnings(store)
    assert found is None
    assert len(said) == 1
    assert path.name in said[0]
    assert not path.exists()
    assert path.with_name(f"{path.name}.damaged").read_bytes() == content
    add_to_workload(store, KEY, FULL)
    assert read_with_warnings(store) == (FULL, [])


def test_lines_merged_by_git_and_ended_as_on_windows_are_no_damage(store: Store) -> None:
    path = path_of(store)
    path.parent.mkdir(parents=True)
    merged = HEAD + RECORD + HEAD + SERVED + line("record", **asdict(record(5e-4, "theirs")))
    path.write_bytes(merged.replace(b"\n", b"\r\n"))
    found, said = read_with_warnings(store)
    assert said == []
    assert found is not None
    assert [r.mean_s for r in found.records] == [5e-4, 1e-3]


def test_adding_to_a_damaged_file_sets_it_aside_too(store: Store) -> None:
    path = path_of(store)
    path.parent.mkdir(parents=True)
    content = HEAD + RECORD + b"garbage\n"
    path.write_bytes(content)
    with pytest.warns(UserWarning, match=path.name) as caught:
        whole = add_to_workload(store, KEY, workload(record(2e-3, "new")))
    assert len(caught) == 1
    assert [r.mean_s for r in whole.records] == [1e-3, 2e-3]
    assert path.with_name(f"{path.name}.damaged").read_bytes() == content
    assert read_with_warnings(store) == (whole, [])


def test_a_repair_never_overwrites_what_another_process_wrote_meanwhile(store: Store) -> None:
    path = path_of(store)
    path.parent.mkdir(parents=True)
    path.write_bytes(HEAD + RECORD + b"garbage\n")
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
