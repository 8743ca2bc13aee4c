"""Tuning records with made-up schedules, lines of their files, processes that add them."""

from __future__ import annotations

import base64
import json
import warnings
from dataclasses import asdict
from pathlib import Path
from typing import Any

from pytest_tvmtune.store.layout import Store
from pytest_tvmtune.store.tuning.records import LedgerLine, Record, Refused, Untuned, Workload
from pytest_tvmtune.store.tuning.workload_files import add_to_workload, read_workload

KEY = "llvm-tvm0.27-0123456789ab"
SHASH = "00ab00ab00ab00ab"


def ir_of(text: str) -> str:
    """Return IR as MetaSchedule would write it: base64 text."""
    return base64.b64encode(text.encode()).decode()


def data(seconds: float, trace: str = "t") -> list[Any]:
    return [[[["Split", trace]], []], [seconds], {"kind": "llvm"}, [["TENSOR", "float32", [4]]]]


def record(seconds: float, trace: str = "t", cpu: str = "this CPU") -> Record:
    return Record(data=data(seconds, trace), cpu=cpu, cores=8, num_threads=4, at_s=1.0)


def untuned(
    seconds: float, cpu: str = "this CPU", *, num_threads: int = 4, at_s: float = 1.0
) -> Untuned:
    return Untuned(run_s=seconds, cpu=cpu, cores=8, num_threads=num_threads, at_s=at_s)


def served(trials: int, cap: int | None = None, *, spent: int = 1, **values: Any) -> LedgerLine:
    values = {"run_id": f"run {trials}/{cap}", "at_s": 1e9, "complete": True, **values}
    values.setdefault("valid", spent)
    return LedgerLine(trials=trials, max_trials_per_task=cap, spent=spent, **values)


def refusal(one: Record, reason: str = "it doesn't build") -> Refused:
    return Refused(digest=one.digest, reason=reason)


def workload(*records: Record, shash: str = SHASH, **values: Any) -> Workload:
    values = {"name": "fused_matmul", "ir": ir_of(f"ir of {shash}"), **values}
    return Workload(shash=shash, records=records, **values)


def line(kind: str, **values: Any) -> bytes:
    return json.dumps({"kind": kind, **values}).encode() + b"\n"


def head(**values: Any) -> bytes:
    """Return a file's `workload` line, other values where given."""
    known = workload()
    row = {"format": 1, "key": KEY, "shash": SHASH, "name": known.name, "ir": known.ir}
    return line("workload", **{**row, **values})


HEAD = head()
RECORD = line("record", **asdict(record(1e-3)))
SERVED = line("served", **asdict(served(64)))


def path_of(store: Store, shash: str = SHASH) -> Path:
    return store.tuning / KEY / f"{shash}.jsonl"


def put(path: Path, content: bytes) -> Path:
    """Write a file's bytes as they are."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def read_with_warnings(store: Store, shash: str = SHASH) -> tuple[Workload | None, list[str]]:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        found = read_workload(store, KEY, shash)
    return found, [str(warning.message) for warning in caught]


def add_many(root: Path, writer: int, times: int, barrier: Any) -> None:
    """In its own process: add records of this writer's own CPU, one call each."""
    barrier.wait(60)
    for number in range(times):
        one = record(1e-3 * (number + 1), f"trace {writer}.{number}", cpu=f"CPU {writer}")
        ledger = served(100 * writer + number, spent=number)
        add_to_workload(Store(root=root), KEY, workload(one, served=(ledger,)))
