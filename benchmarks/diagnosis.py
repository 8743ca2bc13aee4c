"""What a diagnosis costs and how well it adds up: kernel times, and memory of the search.

Usage: python benchmarks/diagnosis.py [RUNS] [--models NAMES]

For each model, untuned, plain and prepacked: what a call takes, the sum of its kernels' and
built-ins' times with the instrument's cost taken off, and what is left over; then the peak memory
of a child that looks for the first diverging kernel, against one that runs the model once.
`wide` is made up: 100 MB of parameters. RUNS (default 3): medians are taken over so many.

Then ground truth: of ten kernels one does half as much work again. What it takes longer by the
work's ratio, beside what the table of kernels says in each run. The machine's speed in that run is
read off the baseline's call without the instrument, of which the kernel's share is its median over
the runs. And how much longer a call takes by the gate's interleaved pairs: of all that changed,
placement included.
"""

from __future__ import annotations

import argparse
import multiprocessing
import resource
import tempfile
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

from gate_models import open_stages
from models import MODELS, open_model

if TYPE_CHECKING:
    from pytest_tvmtune.relax.model import Model
    from pytest_tvmtune.stages.case import Case

# (size, rounds) of ten kernels, about 1, 10 and 100 us each; which of them is slowed.
STAGES = ((64, 2), (128, 5), (192, 20))
SLOWED = (0, 5, 9)
GATE_S = 3.0


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("runs", type=int, nargs="?", default=3)
    parser.add_argument("--models", default=",".join(MODELS))
    options = parser.parse_args()
    print(f"{'model':18} {'end to end':>11} {'sum':>9} {'left over':>9} {'instrument':>10}  memory")
    with tempfile.TemporaryDirectory() as folder:
        for name in filter(None, options.models.split(",")):
            for prepack in (False, True):
                print(_line(Path(folder), name, options.runs, prepack=prepack), flush=True)
        print("\none kernel of ten 1.5 times slower: us more, and what each table says")
        for size, rounds in STAGES:
            for slowed in SLOWED:
                print(_truth(Path(folder), size, rounds, slowed, options.runs), flush=True)


def _line(folder: Path, name: str, runs: int, *, prepack: bool) -> str:
    from pytest_tvmtune.stages.latency.paired_measurement import time_kernels
    from pytest_tvmtune.stages.tuned_build import build_tuned, counterpart_build
    from pytest_tvmtune.stages.tuning_tasks import extract_tasks

    case = _open(folder, name, prepack=prepack)
    artifact = build_tuned(case, extract_tasks(case)).built.artifact
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


def _truth(folder: Path, size: int, rounds: int, slowed: int, runs: int) -> str:
    from pytest_tvmtune.core.gating.confidence_sequence import evidence_of, item_alpha
    from pytest_tvmtune.stages.compiling import build_untuned
    from pytest_tvmtune.stages.latency.paired_measurement import measure, time_kernels

    # No two alike, which would be one kernel: even numbers, and an odd one half as large again.
    usual = [2 * (rounds + number) for number in range(10)]
    slower = [count * 3 // 2 | 1 if n == slowed else count for n, count in enumerate(usual)]
    cases = [
        _case(folder, open_stages(size, one), "stages", prepack=False) for one in (usual, slower)
    ]
    old, now = (build_untuned(case).artifact for case in cases)
    alpha = item_alpha(1)
    by_gate, tables = [], []
    for _ in range(runs):
        measured = measure(
            cases[1], old, now, alpha=alpha, expected_s=0.001, max_time_s=GATE_S, tell_noise=False
        )
        gate = evidence_of(measured.epochs, alpha)
        by_gate.append((gate.ratio - 1) * gate.baseline_median_s)
        tables.append(time_kernels(cases[1], now, old))
    name = f"stage{chr(ord('a') + slowed)}"
    named = sum(table.rows[0].name == name for table in tables)
    found = [next(row for row in table.rows if row.name == name) for table in tables]
    share = median(
        (row.baseline_s or 0.0) / (table.baseline_end_to_end_s or 1.0)
        for row, table in zip(found, tables, strict=True)
    )
    more = slower[slowed] / usual[slowed] - 1
    truths_s = [share * (table.baseline_end_to_end_s or 0.0) * more for table in tables]
    told = ", ".join(
        f"{row.cost_s * 1e6:.2f} ({row.cost_s / truth_s - 1:+.0%})"
        for row, truth_s in zip(found, truths_s, strict=True)
    )
    return (
        f"by work {median(truths_s) * 1e6:6.2f} ({min(truths_s) * 1e6:.2f} to "
        f"{max(truths_s) * 1e6:.2f}), by gate {median(by_gate) * 1e6:6.2f} "
        f"({min(by_gate) * 1e6:.2f} to {max(by_gate) * 1e6:.2f}); named {named} of {runs}: {told}"
    )


def _open(folder: Path, name: str, *, prepack: bool) -> Case:
    return _case(folder, open_model(name), name, prepack=prepack)


def _case(folder: Path, model: Model, name: str, *, prepack: bool) -> Case:
    from pytest_tvmtune.core.settings.options import resolve_run
    from pytest_tvmtune.core.settings.quantities import parse_threshold
    from pytest_tvmtune.core.settings.target_spec import parse_target
    from pytest_tvmtune.stages.case import RunContext, open_case
    from pytest_tvmtune.store.layout import open_store

    store = open_store(folder / "store")
    # A limit that no pairs decide about: they are taken for as long as they may.
    layer = {"trials": 0, "threshold": parse_threshold("0.001%", "threshold")}
    run = resolve_run(layer, store_dir=store.root)
    options = run.case_options({}, target=parse_target("llvm"), prepack=prepack)
    return open_case(model, options, RunContext(store=store), name=name, nodeid=name)


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
    from pytest_tvmtune.processes.job_processes import end_servers

    job(_open(folder, name, prepack=prepack))
    end_servers()  # what it has forked counts once it has ended
    queue.put(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024)


def _run_once(case: Case) -> None:
    from pytest_tvmtune.processes.run_job import run_job
    from pytest_tvmtune.relax.compiling import run_once_job
    from pytest_tvmtune.stages.explaining.crashed_kernel import first_run
    from pytest_tvmtune.stages.job_context import job_context
    from pytest_tvmtune.stages.tuned_build import build_tuned
    from pytest_tvmtune.stages.tuning_tasks import extract_tasks

    artifact = build_tuned(case, extract_tasks(case)).built.artifact
    request = first_run(case, artifact.library, artifact.manifest)
    run_job(run_once_job.JOB, request, job_context(case, "run", timeout_s=600))


def _search(case: Case) -> None:
    """Look for a divergence between the build and the other one: there is none, so to the end."""
    from pytest_tvmtune.core.comparing.tolerances import Tolerance
    from pytest_tvmtune.stages.explaining.divergence_search import first_divergence
    from pytest_tvmtune.stages.tuned_build import build_tuned, counterpart_build
    from pytest_tvmtune.stages.tuning_tasks import extract_tasks

    found = first_divergence(
        case,
        build_tuned(case, extract_tasks(case)).built,
        counterpart_build(case),
        against="the other",
        tolerance=Tolerance(atol=1.0),
    )
    assert found.kind == "none", found.sentence()


if __name__ == "__main__":
    main()
