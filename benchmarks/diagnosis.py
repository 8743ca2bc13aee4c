"""What a diagnosis costs and how well it adds up: kernel times, and memory of the search.

Usage: python benchmarks/diagnosis.py [RUNS] [--models NAMES]

For each model, untuned, plain and prepacked: what a call takes, the sum of its kernels' and
built-ins' times with the instrument's cost taken off, and what is left over; then the peak memory
of a child that looks for the first diverging kernel, against one that runs the model once.
`wide` is made up: 100 MB of parameters. RUNS (default 3): medians are taken over so many.
"""

from __future__ import annotations

import argparse
import multiprocessing
import resource
import tempfile
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

from models import MODELS, open_model

if TYPE_CHECKING:
    from pytest_tvmtune.runner.case import Case


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("runs", type=int, nargs="?", default=3)
    parser.add_argument("--models", default=",".join(MODELS))
    options = parser.parse_args()
    print(f"{'model':18} {'end to end':>11} {'sum':>9} {'left over':>9} {'instrument':>10}  memory")
    with tempfile.TemporaryDirectory() as folder:
        for name in options.models.split(","):
            for prepack in (False, True):
                print(_line(Path(folder), name, options.runs, prepack=prepack), flush=True)


def _line(folder: Path, name: str, runs: int, *, prepack: bool) -> str:
    from pytest_tvmtune.runner.measuring import time_kernels
    from pytest_tvmtune.runner.preparing import counterpart_build, tune_and_build

    case = _open(folder, name, prepack=prepack)
    artifact = tune_and_build(case).artifact
    # Here, so that no child measured below compiles.
    counterpart_build(case)
    tables = [time_kernels(case, artifact) for _ in range(runs)]
    call_s = median(table.end_to_end_s for table in tables)
    left_s = median(table.unexplained_s for table in tables)
    once, search = (
        median(_peak_bytes(job, folder, name, prepack) for _ in range(runs))
        for job in (_run_once, _search)
    )
    return (
        f"{name}{' prepacked' if prepack else '':10} {call_s * 1e6:8.1f} us "
        f"{(call_s - left_s) * 1e6:9.1f} {left_s / call_s:9.1%} "
        f"{median(table.overhead_s for table in tables) * 1e6:7.2f} us  "
        f"{search / 1e6:.0f} / {once / 1e6:.0f} MB = {search / once:.2f}"
    )


def _open(folder: Path, name: str, *, prepack: bool) -> Case:
    from pytest_tvmtune.core.options import RunOptions
    from pytest_tvmtune.core.targets import parse_target
    from pytest_tvmtune.runner.case import Workshop, open_case
    from pytest_tvmtune.store.layout import open_store

    store = open_store(folder / "store")
    run = RunOptions(layers=({"trials": 0},), store_dir=store.root)
    options = run.case_options({}, target=parse_target("llvm"), prepack=prepack)
    model = open_model(name)
    return open_case(model, options, Workshop(store=store), name=name, nodeid=name)


def _peak_bytes(job: Any, folder: Path, name: str, prepack: bool) -> int:
    """Return the peak memory of the child that a job starts, of all processes it may start."""
    context = multiprocessing.get_context("spawn")
    queue = context.SimpleQueue()
    process = context.Process(target=_measure, args=(job, folder, name, prepack, queue))
    process.start()
    peak: int = queue.get()
    process.join()
    return peak


def _measure(job: Any, folder: Path, name: str, prepack: bool, queue: Any) -> None:
    job(_open(folder, name, prepack=prepack))
    queue.put(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024)


def _run_once(case: Case) -> None:
    from pytest_tvmtune.relax.child import run_job
    from pytest_tvmtune.runner.preparing import tune_and_build

    artifact = tune_and_build(case).artifact
    run_job(
        "pytest_tvmtune.relax.build:run_once",
        {
            "target": case.target_json,
            "entry": case.model.signature.entry,
            "library": str(artifact.library),
            "manifest": artifact.manifest.to_json(),
        },
        arrays={"params": case.model.params, "inputs": case.model.inputs},
        scratch=case.store.scratch,
        log_path=case.log_path("run"),
        timeout_s=600,
        num_threads=case.num_threads,
    )


def _search(case: Case) -> None:
    """Look for a divergence between the build and the other one: there is none, so to the end."""
    from pytest_tvmtune.core.tolerances import Tolerance
    from pytest_tvmtune.runner.diagnosing import first_divergence
    from pytest_tvmtune.runner.preparing import counterpart_build, tune_and_build

    found = first_divergence(
        case,
        tune_and_build(case),
        counterpart_build(case),
        against="the other",
        tolerance=Tolerance(atol=1.0),
    )
    assert found.kind == "none", found.sentence()


if __name__ == "__main__":
    main()
