"""Reports of runs as the history keeps them, and a process that keeps many."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from pytest_tvmtune.core.gating.verdict import Verdict
from pytest_tvmtune.core.json_codec import to_json_values
from pytest_tvmtune.core.results.case_result import CaseResult, Outcome
from pytest_tvmtune.core.results.latency_result import LatencyResult
from pytest_tvmtune.report.json_report import make_report
from pytest_tvmtune.store.layout import Store, open_store
from pytest_tvmtune.store.run_history import add_run

MACHINE = {"cpu": "CPU A", "tvm": "0.27.0", "tvm_ffi": "0.1.14", "usable_cores": 2}


def case(
    name: str = "mlp",
    median_s: float | None = 1e-3,
    *,
    nodeid: str = "",
    artifact: str = "ab" * 32,
    verdict: Verdict = "PASS",
    outcome: Outcome = "passed",
    num_threads: int = 2,
    prepack: bool = False,
) -> dict[str, Any]:
    latency = LatencyResult(
        verdict=verdict, message="", median_s=median_s, slowdown_ratio=1.25, num_threads=num_threads
    )
    own = "llvm-prepack" if prepack else "llvm"
    case = CaseResult(
        name=name,
        nodeid=nodeid or f"test_it.py::test_{name}[{own}]",
        entry="main",
        target_name="llvm",
        target='{"kind": "llvm"}',
        prepack=prepack,
        library_bytes=4096,
        artifact=artifact,
        latency=None if median_s is None else latency,
        outcome=outcome,
    )
    plain: dict[str, Any] = to_json_values(case)
    return plain


def keep(store: Store, *cases: dict[str, Any], revision: str = "", **machine: str) -> int:
    run, remark = add_run(store, make_report(cases, {**MACHINE, **machine}), revision)
    assert not remark
    return run


if __name__ == "__main__":
    # python sample_runs.py STORE NAME COUNT: keep so many runs of two cases, telling each.
    kept_in = open_store(Path(sys.argv[1]))
    for _ in range(int(sys.argv[3])):
        number = keep(kept_in, case(sys.argv[2]), case(sys.argv[2], prepack=True))
        sys.stdout.write(f"{number}\n")
        sys.stdout.flush()
