"""MetaSchedule's own work_dir: two files of JSON lines; records name workloads by position."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from pytest_tvmtune.core.errors import StoreError
from pytest_tvmtune.store.atomic_files import write_text
from pytest_tvmtune.store.locks import path_lock
from pytest_tvmtune.store.tuning.record_lines import load_line
from pytest_tvmtune.store.tuning.records import Record, Workload, is_valid_record, keep_best
from pytest_tvmtune.store.tuning.trace_trust import brings_code, external_calls

WORKLOADS_FILE = "database_workload.json"
RECORDS_FILE = "database_tuning_record.json"
_HASH = re.compile(r"[0-9]{1,20}")


def write_work_dir(work_dir: Path, pairs: Sequence[tuple[Workload, Iterable[Record]]]) -> None:
    """Write a MetaSchedule work_dir with these workloads and records and nothing else."""
    workloads, records = [], []
    for index, (workload, chosen) in enumerate(pairs):
        workloads.append(json.dumps([str(int(workload.shash, 16)), workload.ir]))
        records += [json.dumps([index, record.data]) for record in chosen]
    # TVM crashes on a blank line, so an empty file must be empty.
    for name, lines in (("workload", workloads), ("tuning_record", records)):
        path = work_dir / f"database_{name}.json"
        write_text(path, "".join(f"{line}\n" for line in lines))


def append_to_work_dir(work_dir: Path, workloads: Sequence[Workload]) -> None:
    """Add these workloads' records to a stock work_dir; its present content stays.

    Raises:
        StoreError: A line of the work_dir is damaged; nothing is written.
    """
    with path_lock(work_dir):
        _append(work_dir, workloads)


def _append(work_dir: Path, workloads: Sequence[Workload]) -> None:
    stock, problems = _work_dir_rows(work_dir)
    if problems:
        raise StoreError(f"work_dir {work_dir} was not changed: {problems[0]}")
    index_of = {str(row[0]): index for index, row in enumerate(stock["workload"])}
    present = {json.dumps(row) for row in stock["tuning_record"]}
    for workload in workloads:
        stock_hash = str(int(workload.shash, 16))
        if stock_hash not in index_of:
            index_of[stock_hash] = len(stock["workload"])
            stock["workload"].append([stock_hash, workload.ir])
        rows = [[index_of[stock_hash], record.data] for record in workload.records]
        stock["tuning_record"] += [row for row in rows if json.dumps(row) not in present]
    for name, rows in stock.items():
        text = "".join(f"{json.dumps(row)}\n" for row in rows)
        write_text(work_dir / f"database_{name}.json", text)


def read_work_dir(work_dir: Path) -> tuple[list[Workload], list[str]]:
    """Return the workloads with valid records of a stock work_dir, and why others were left out.

    Every line is parsed here. The records carry no machine ("unknown" CPU), since stock files don't
    name it.
    """
    rows, problems = _work_dir_rows(work_dir)
    found: dict[int, list[Record]] = {}
    for row in rows["tuning_record"]:
        if row is not None and isinstance(row[0], int) and is_valid_record(row[1]):
            found.setdefault(row[0], []).append(
                Record(data=row[1], cpu="unknown", cores=0, num_threads=0, at_s=0)
            )
    workloads = []
    for index, row in enumerate(rows["workload"]):
        if row is None or index not in found:
            continue
        problem = _problem(row, found[index])
        if problem:
            problems.append(f"{WORKLOADS_FILE} line {index + 1}: {problem}")
        else:
            shash = f"{int(row[0]):016x}"
            workloads.append(
                Workload(shash=shash, name="", ir=row[1], records=keep_best(found[index]))
            )
    return workloads, problems


def _problem(row: list[Any], records: Sequence[Record]) -> str:
    """Return why a workload of a work_dir and its records are not imported, "" if they are."""
    if not isinstance(row[0], str) or not _HASH.fullmatch(row[0]) or int(row[0]) >= 2**64:
        return "it has no structural hash"
    try:
        called = external_calls(row[1]) if isinstance(row[1], str) else ("no IR",)
    except ValueError as error:
        return str(error)
    if called or any(brings_code(record.data[0]) for record in records):
        return f"refused: it contains code or calls external functions ({', '.join(called)})"
    return ""


def _work_dir_rows(work_dir: Path) -> tuple[dict[str, list[Any]], list[str]]:
    problems: list[str] = []
    rows: dict[str, list[Any]] = {}
    for name in ("workload", "tuning_record"):
        path = work_dir / f"database_{name}.json"
        rows[name] = []
        lines = path.read_bytes().splitlines() if path.is_file() else []
        for number, line in enumerate(lines, start=1):
            row = load_line(line)
            if isinstance(row, list) and len(row) == 2:
                rows[name].append(row)
            else:
                problems.append(f"{path.name} line {number} is damaged")
                # Later lines refer to workloads by their position.
                rows[name].append(None)
    return rows, problems
