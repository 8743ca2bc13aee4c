"""Tuning records with made-up schedules, and processes that add them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pytest_tvmtune.store.layout import Store
from pytest_tvmtune.store.records import Record, Served, Workload, add_to_workload

KEY = "llvm-tvm0.27-0123456789ab"
SHASH = "00ab00ab00ab00ab"


def data(seconds: float, trace: str = "t") -> list[Any]:
    return [[[["Split", trace]], []], [seconds], {"kind": "llvm"}, [["TENSOR", "float32", [4]]]]


def record(seconds: float, trace: str = "t", cpu: str = "this CPU") -> Record:
    return Record(data=data(seconds, trace), cpu=cpu, cores=8, num_threads=4)


def served(trials: int, cap: int | None = None, spent: int = 1) -> Served:
    return Served(trials=trials, max_trials_per_task=cap, spent=spent, valid=spent)


def workload(*records: Record, served: tuple[Served, ...] = (), shash: str = SHASH) -> Workload:
    return Workload(
        shash=shash, name="fused_matmul", ir=f"ir of {shash}", records=records, served=served
    )


def add_many(root: Path, writer: int, times: int, barrier: Any) -> None:
    """In its own process: add records of this writer's own CPU, one call each."""
    barrier.wait(60)
    for number in range(times):
        one = record(1e-3 * (number + 1), f"trace {writer}.{number}", cpu=f"CPU {writer}")
        line = served(100 * writer + number, spent=number)
        add_to_workload(Store(root=root), KEY, workload(one, served=(line,)))
