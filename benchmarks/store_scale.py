"""Time a warm test spends in the store, with 10, 1,000 and 10,000 other workloads in it.

The other workloads have samples, too, as many files as the store keeps of a target.

Usage: python benchmarks/store_scale.py [RUNS]

Tunes the example suite's MLP once with a few trials, fills the store with copies of its files
under other hashes, and times what a warm run asks the store: the plan, every task's records and
ledger, the build, the artifact with its hash checked. The sizes alternate; prints medians and
quartiles in milliseconds.
"""

from __future__ import annotations

import json
import random
import shutil
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from models import open_model

from pytest_tvmtune.core.settings.options import resolve_run
from pytest_tvmtune.core.settings.target_spec import parse_target
from pytest_tvmtune.stages.case import RunContext, open_case
from pytest_tvmtune.stages.compiling import build
from pytest_tvmtune.stages.tuning_tasks import (
    best_records,
    extract_tasks,
    stored_workloads,
    tune_missing,
)
from pytest_tvmtune.store.layout import Store, open_store
from pytest_tvmtune.store.tuning.samples import MOST_FILES, sample_files

SIZES = (10, 1_000, 10_000)


def main() -> None:
    runs = int(sys.argv[1]) if len(sys.argv) > 1 else 15
    with tempfile.TemporaryDirectory(prefix="store-scale-") as folder:
        root = Path(folder)
        model = open_model("mlp")
        first = _case(open_store(root / "0"), model)
        plan = extract_tasks(first)
        tune_missing(first, plan)
        build(first, plan, best_records(first, stored_workloads(first, plan)))
        key = plan.target_key
        cases = {}
        for size in SIZES:
            shutil.copytree(root / "0", root / str(size))
            store = open_store(root / str(size))
            _fill(store.tuning / key, size)
            _fill_samples(store, size)
            cases[size] = _case(store, model)
        taken: dict[int, list[float]] = {size: [] for size in SIZES}
        for _ in range(runs):
            for size in random.sample(SIZES, len(SIZES)):
                started = time.perf_counter()
                _warm(cases[size])
                taken[size].append((time.perf_counter() - started) * 1e3)
        for size in SIZES:
            low, middle, high = statistics.quantiles(taken[size], n=4)
            print(
                f"{size:6} other workloads: median {middle:.2f} ms "
                f"(quartiles {low:.2f} to {high:.2f}), {runs} runs"
            )


def _case(store: Store, model: Any) -> Any:
    run = resolve_run({"trials": 16}, store_dir=store.root)
    options = run.case_options({}, target=parse_target("llvm", "target"), prepack=False)
    return open_case(model, options, RunContext(store=store), name="mlp", nodeid="mlp")


def _warm(case: Any) -> None:
    plan = extract_tasks(case)
    tuned = tune_missing(case, plan)
    built = build(case, plan, best_records(case, stored_workloads(case, plan)))
    assert not tuned.tuned
    assert built.compiled_s is None


def _fill(folder: Path, count: int) -> None:
    """Copy the tuned workloads under other hashes."""
    contents = [path.read_text().splitlines() for path in sorted(folder.glob("*.jsonl"))]
    for number in range(count):
        shash = f"{number:016x}"
        lines = list(contents[number % len(contents)])
        head = json.loads(lines[0])
        lines[0] = json.dumps({**head, "shash": shash})
        (folder / f"{shash}.jsonl").write_text("".join(f"{line}\n" for line in lines))


def _fill_samples(store: Store, count: int) -> None:
    """Copy the samples under other hashes."""
    known = sample_files(store)
    for number in range(min(count, MOST_FILES - len(known))):
        shutil.copy(known[0], known[0].with_name(f"{number:016x}{known[0].suffix}"))


if __name__ == "__main__":
    main()
