"""The history: what the cases of each run came to, in one SQLite file.

A writer that is killed leaves a journal, from which the next one restores the file; several
writers wait for each other. Numbers are kept for good, all else of a run's report for a while.
"""

from __future__ import annotations

import contextlib
import json
import os
import sqlite3
import subprocess
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from pytest_tvmtune.core.errors import StoreError
from pytest_tvmtune.core.results.case_label import label_of, without_group
from pytest_tvmtune.store.atomic_files import set_aside
from pytest_tvmtune.store.layout import Store
from pytest_tvmtune.store.locks import file_lock

SCHEMA = 1
# Runs whose whole reports are kept.
KEPT_REPORTS = 200
_WAIT_S = 60.0
_GIT_S = 10.0
_TABLES = """
CREATE TABLE runs (
    run INTEGER PRIMARY KEY AUTOINCREMENT,
    at TEXT NOT NULL,
    revision TEXT NOT NULL,
    cpu TEXT NOT NULL,
    tvm TEXT NOT NULL,
    head TEXT NOT NULL
);
CREATE TABLE cases (
    run INTEGER NOT NULL REFERENCES runs (run),
    nodeid TEXT NOT NULL,
    name TEXT NOT NULL,
    label TEXT NOT NULL,
    outcome TEXT NOT NULL,
    verdict TEXT NOT NULL,
    median_s REAL,
    slowdown_ratio REAL,
    library_bytes INTEGER NOT NULL,
    artifact TEXT NOT NULL,
    num_threads INTEGER NOT NULL,
    details BLOB,
    PRIMARY KEY (run, nodeid, name)
);
CREATE INDEX cases_by_name ON cases (nodeid, name, run);
"""


class DamagedHistoryError(StoreError):
    """The file is no SQLite file, or one that is damaged."""


@dataclass(frozen=True, kw_only=True)
class StoredRun:
    """One row of `tvmtune history`. at: UTC. revision: git's, "" where there is none."""

    run: int
    at: str
    revision: str
    cpu: str
    tvm: str
    cases: int
    failed: int


@dataclass(frozen=True, kw_only=True)
class Point:
    """What one case came to in one run. median_s: seconds a call; None where it wasn't timed."""

    run: int
    at: str
    revision: str
    cpu: str
    tvm: str
    nodeid: str
    name: str
    label: str
    outcome: str
    verdict: str
    median_s: float | None
    slowdown_ratio: float | None
    library_bytes: int
    artifact: str
    num_threads: int


def add_run(store: Store, report: Mapping[str, Any], revision: str) -> tuple[int, str]:
    """Keep the report of a run.

    A damaged file is set aside, and a new one begun.

    Args:
        store: The store.
        report: As docs/reference/json.md has it.
        revision: The commit that was tested, "" where it isn't known.

    Returns:
        The run's number, and a remark on a damaged file or "".

    Raises:
        StoreError: It can't be written.
    """
    try:
        return _insert(store, report, revision), ""
    except DamagedHistoryError:
        with file_lock(store.lock("runs")):
            try:  # another process may have repaired it meanwhile
                return _insert(store, report, revision), ""
            except DamagedHistoryError as error:
                # SQLite would apply the journal of the old file to the new one.
                store.runs.with_name(f"{store.runs.name}-journal").unlink(missing_ok=True)
                remark = set_aside(store.runs, str(error))
                return _insert(store, report, revision), remark


def _insert(store: Store, report: Mapping[str, Any], revision: str) -> int:
    head = {key: value for key, value in report.items() if key != "cases"}
    machine = report["machine"]
    # Where all cases ran on one device, that is the run's CPU.
    cpus = {case.get("device") or machine["cpu"] for case in report["cases"]}
    cpu = cpus.pop() if len(cpus) == 1 else machine["cpu"]
    rows = [_row(case) for case in report["cases"]]
    with _opened(store, write=True) as connection:
        cursor = connection.execute(
            "INSERT INTO runs (at, revision, cpu, tvm, head) VALUES (?, ?, ?, ?, ?)",
            (report["created_at"], revision, cpu, machine["tvm"], json.dumps(head)),
        )
        run = cursor.lastrowid
        assert run is not None
        # A test that is run again in one session has one id: its last result counts.
        connection.executemany(
            "INSERT OR REPLACE INTO cases VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            [(run, *row) for row in rows],
        )
        connection.execute(
            "UPDATE cases SET details = NULL WHERE run <= ? AND details IS NOT NULL",
            (run - KEPT_REPORTS,),
        )
        return run


def _row(case: Mapping[str, Any]) -> tuple[Any, ...]:
    latency = case["latency"] or {}
    label = label_of(
        case["name"], case["target_name"], prepack=case["prepack"], params=case.get("params", "")
    )
    return (
        *map(_as_text, (without_group(case["nodeid"]), case["name"], label)),
        case["outcome"],
        latency.get("verdict", ""),
        latency.get("median_s"),
        latency.get("slowdown_ratio"),
        case["library_bytes"] or 0,
        case["artifact"],
        latency.get("num_threads", 0),
        zlib.compress(json.dumps(case).encode()),
    )


def _as_text(name: str) -> str:
    """Return a name that SQLite can hold, that of a path with bytes that are no UTF-8, too."""
    return name.encode(errors="backslashreplace").decode()


def list_runs(store: Store) -> list[StoredRun]:
    """Return every run, the oldest first. Raises StoreError."""
    with _opened(store) as connection:
        rows = connection.execute(
            "SELECT run, at, revision, cpu, tvm, count(name), coalesce(sum(outcome = 'failed'), 0) "
            "FROM runs LEFT JOIN cases USING (run) GROUP BY run ORDER BY run"
        ).fetchall()
    names = ("run", "at", "revision", "cpu", "tvm", "cases", "failed")
    return [StoredRun(**dict(zip(names, row, strict=True))) for row in rows]


def find_points(store: Store, text: str) -> list[Point]:
    """Return the points of each case that is named, the oldest first.

    Points from before a case had its present label belong to it.

    Args:
        store: The store.
        text: A label (`mlp[llvm]`), a test's id, or else a part of these.

    Raises:
        StoreError: The history can't be read.
    """
    fields = tuple(Point.__dataclass_fields__)
    query = (
        f"SELECT {', '.join(fields)} FROM cases JOIN runs USING (run) WHERE (nodeid, name) IN "  # noqa: S608  no input
        "(SELECT nodeid, name FROM cases WHERE {}) ORDER BY run"
    )
    with _opened(store) as connection:
        for where in (
            "label = :text OR nodeid = :text",
            "instr(label, :text) OR instr(nodeid, :text)",
        ):
            rows = connection.execute(query.format(where), {"text": text}).fetchall()
            if rows:
                break
    return [Point(**dict(zip(fields, row, strict=True))) for row in rows]


def read_report(store: Store, run: int) -> dict[str, Any]:
    """Return the report of a run. Raises StoreError if it doesn't exist, or was removed."""
    with _opened(store) as connection:
        head = connection.execute("SELECT head FROM runs WHERE run = ?", (run,)).fetchone()
        rows = connection.execute(
            "SELECT details FROM cases WHERE run = ? ORDER BY nodeid, name", (run,)
        ).fetchall()
    if head is None:
        raise StoreError(f"{store.runs} has no run {run}; to list the runs, use `tvmtune history`")
    if any(details is None for (details,) in rows):
        raise StoreError(
            f"the report of run {run} was removed, because the history keeps the reports of "
            f"{KEPT_REPORTS} runs; for its numbers, use `tvmtune history CASE`"
        )
    try:
        cases = [json.loads(zlib.decompress(details)) for (details,) in rows]
        return {**json.loads(head[0]), "cases": cases}
    except (ValueError, zlib.error) as error:
        raise StoreError(f"{store.runs}: run {run} is damaged: {error}") from error


def history_problem(store: Store) -> str:
    """Return the damage of the file, "" for a valid, an empty, or a missing file."""
    try:
        with _opened(store) as connection:
            (found,) = connection.execute("PRAGMA quick_check(1)").fetchone()
    except DamagedHistoryError as error:
        return str(error)
    except StoreError:
        return ""
    return "" if found == "ok" else str(found)


def revision_of(folder: Path) -> str:
    """Return git's short hash of the checkout, with `-dirty` if it was edited, "" if none."""
    command = ["git", "describe", "--always", "--dirty", "--abbrev=12", "--exclude=*"]
    try:
        done = subprocess.run(
            command, cwd=folder, capture_output=True, text=True, timeout=_GIT_S, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout.strip()


@contextlib.contextmanager
def _opened(store: Store, *, write: bool = False) -> Iterator[sqlite3.Connection]:
    """Open the file in one transaction, made if it is to be written. Raises StoreError."""
    path = store.runs
    if not write and not path.is_file():
        raise StoreError(f"{path} does not exist; a run of pytest with tests of models creates it")
    # A killed writer's journal is rolled back by whoever comes next, if that one may write.
    mode = "rwc" if write else "rw" if os.access(path, os.W_OK) else "ro"
    try:
        connection = sqlite3.connect(
            f"file:{quote(os.fsencode(path))}?mode={mode}",
            uri=True,
            timeout=_WAIT_S,
            isolation_level=None,
        )
        try:
            connection.execute("BEGIN IMMEDIATE" if write else "BEGIN")
            _check_schema(connection, path, write=write)
            yield connection
            connection.execute("COMMIT")
        finally:
            connection.close()
    except sqlite3.OperationalError as error:
        raise StoreError(f"can't use {path}: {error}") from error
    except sqlite3.DatabaseError as error:
        raise DamagedHistoryError(str(error)) from error


def _check_schema(connection: sqlite3.Connection, path: Path, *, write: bool) -> None:
    (schema,) = connection.execute("PRAGMA user_version").fetchone()
    if schema > SCHEMA:
        raise StoreError(
            f"{path} has version {schema}, and this pytest-tvmtune reads versions up to {SCHEMA}; "
            "upgrade pytest-tvmtune"
        )
    if schema == 0:
        if not write:
            raise StoreError(f"{path} has no runs")
        for statement in _TABLES.split(";"):
            connection.execute(statement)
        connection.execute(f"PRAGMA user_version = {SCHEMA}")
