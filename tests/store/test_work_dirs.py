"""Stock MetaSchedule work_dirs: written for the pipeline, read in, added to."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from pytest_tvmtune.core.errors import StoreError
from pytest_tvmtune.store.tuning.work_dirs import append_to_work_dir, read_work_dir, write_work_dir
from tests.support.sample_records import data, ir_of, record, workload

ONE = workload(record(2e-3, "a"), record(3e-3, "b"), shash="00000000000000ff")
TWO = workload(record(4e-3, "c"), shash="ffffffffffffffff")
WORKLOADS, RECORDS = "database_workload.json", "database_tuning_record.json"


def rows(work_dir: Path, name: str) -> list[Any]:
    return [json.loads(line) for line in (work_dir / name).read_text().splitlines()]


def test_writing_gives_each_record_the_position_of_its_workload(tmp_path: Path) -> None:
    write_work_dir(tmp_path, [(ONE, ONE.records[:1]), (TWO, TWO.records)])
    assert rows(tmp_path, WORKLOADS) == [
        ["255", ir_of("ir of 00000000000000ff")],
        [str(2**64 - 1), ir_of("ir of ffffffffffffffff")],
    ]
    assert rows(tmp_path, RECORDS) == [[0, data(2e-3, "a")], [1, data(4e-3, "c")]]


def test_an_empty_work_dir_has_no_blank_line(tmp_path: Path) -> None:
    write_work_dir(tmp_path, [])
    assert (tmp_path / WORKLOADS).read_bytes() == b""
    assert (tmp_path / RECORDS).read_bytes() == b""


def test_round_trip(tmp_path: Path) -> None:
    write_work_dir(tmp_path, [(ONE, ONE.records), (TWO, TWO.records)])
    workloads, problems = read_work_dir(tmp_path)
    assert problems == []
    assert [(w.shash, w.ir) for w in workloads] == [(w.shash, w.ir) for w in (ONE, TWO)]
    assert [[r.data for r in w.records] for w in workloads] == [
        [data(2e-3, "a"), data(3e-3, "b")],
        [data(4e-3, "c")],
    ]
    # Stock files don't tell the machine, and no request is known to have been served.
    assert {r.cpu for w in workloads for r in w.records} == {"unknown"}
    assert all(w.served == () for w in workloads)


def test_nothing_there_is_nothing_read(tmp_path: Path) -> None:
    assert read_work_dir(tmp_path / "absent") == ([], [])


def test_failed_candidates_and_workloads_without_a_valid_record_are_left_out(
    tmp_path: Path,
) -> None:
    write_work_dir(tmp_path, [(ONE, [record(1e10)]), (TWO, [record(1e10, "x"), *TWO.records])])
    workloads, problems = read_work_dir(tmp_path)
    assert [(w.shash, len(w.records)) for w in workloads] == [(TWO.shash, 1)]
    assert problems == []


@pytest.mark.parametrize(
    "bad", ["", "null", "5", "[1]", "[1, 2, 3]", "{}", "[0, [[], [1.0], {}", "\x00\x01"]
)
def test_damaged_lines_are_left_out_and_named_the_others_keep_their_place(
    tmp_path: Path, bad: str
) -> None:
    write_work_dir(tmp_path, [(ONE, ONE.records), (TWO, TWO.records)])
    for name in (WORKLOADS, RECORDS):
        lines = (tmp_path / name).read_text().splitlines()
        (tmp_path / name).write_text("\n".join([bad, *lines[1:]]) + "\n")
    workloads, problems = read_work_dir(tmp_path)
    # The first workload's line is gone, and so is the record that stood first.
    assert [w.shash for w in workloads] == [TWO.shash]
    assert [r.data for r in workloads[0].records] == [data(4e-3, "c")]
    assert problems == [f"{WORKLOADS} line 1 is damaged", f"{RECORDS} line 1 is damaged"]


@pytest.mark.parametrize(
    "row", [["²", "ir"], ["-1", "ir"], ["x", "ir"], [None, "ir"], ["255", 5], [[], []]]
)
def test_a_workload_line_of_other_values_is_left_out(tmp_path: Path, row: list[Any]) -> None:
    write_work_dir(tmp_path, [(ONE, ONE.records)])
    (tmp_path / WORKLOADS).write_text(json.dumps(row) + "\n")
    assert read_work_dir(tmp_path)[0] == []


@pytest.mark.parametrize(
    "row", [["0", data(1.0)], [None, data(1.0)], [7, data(1.0)], [-1, data(1.0)], [0, "x"],
            [0, []], [0, [[], [1.0], {}]], [0, [[], [], {}, []]], [0, [[], [None], {}, []]]]
)  # fmt: skip
def test_a_record_line_of_other_values_is_left_out(tmp_path: Path, row: list[Any]) -> None:
    write_work_dir(tmp_path, [(ONE, ONE.records[:1])])
    with (tmp_path / RECORDS).open("a") as file:
        file.write(json.dumps(row) + "\n")
    (found,) = read_work_dir(tmp_path)[0]
    assert [r.data for r in found.records] == [data(2e-3, "a")]


def test_a_hash_of_too_many_digits_is_left_out(tmp_path: Path) -> None:
    write_work_dir(tmp_path, [(ONE, ONE.records)])
    (tmp_path / WORKLOADS).write_text(json.dumps(["9" * 5000, ONE.ir]) + "\n")
    assert read_work_dir(tmp_path)[0] == []


def test_adding_to_an_empty_folder_makes_a_stock_work_dir(tmp_path: Path) -> None:
    append_to_work_dir(tmp_path / "new", [ONE, TWO])
    assert [w.shash for w in read_work_dir(tmp_path / "new")[0]] == [ONE.shash, TWO.shash]


def test_what_stands_there_already_stays_and_nothing_is_added_twice(tmp_path: Path) -> None:
    write_work_dir(tmp_path, [(TWO, [record(1e10, "failed"), *TWO.records])])
    before = rows(tmp_path, WORKLOADS), rows(tmp_path, RECORDS)
    append_to_work_dir(tmp_path, [ONE])
    after = rows(tmp_path, WORKLOADS), rows(tmp_path, RECORDS)
    assert after[0] == [*before[0], ["255", ONE.ir]]
    assert after[1] == [*before[1], [1, data(2e-3, "a")], [1, data(3e-3, "b")]]
    append_to_work_dir(tmp_path, [ONE, TWO])
    assert (rows(tmp_path, WORKLOADS), rows(tmp_path, RECORDS)) == after


def test_a_new_record_of_a_workload_that_stands_there_joins_it(tmp_path: Path) -> None:
    write_work_dir(tmp_path, [(TWO, TWO.records), (ONE, ONE.records[:1])])
    append_to_work_dir(tmp_path, [ONE])
    assert len(rows(tmp_path, WORKLOADS)) == 2
    assert rows(tmp_path, RECORDS)[2:] == [[1, data(3e-3, "b")]]


@pytest.mark.parametrize("name", [WORKLOADS, RECORDS])
@pytest.mark.parametrize("bad", [b"", b"null", b'["255", "trunc'])
def test_nothing_is_written_where_a_damaged_line_stands(
    tmp_path: Path, name: str, bad: bytes
) -> None:
    write_work_dir(tmp_path, [(TWO, TWO.records)])
    with (tmp_path / name).open("ab") as file:
        file.write(bad + b"\n")
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    with pytest.raises(StoreError, match=rf"was not changed: {name} line 2 is damaged"):
        append_to_work_dir(tmp_path, [ONE])
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before
