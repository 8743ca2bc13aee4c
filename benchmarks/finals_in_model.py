"""What finals inside the model are worth: schedules chosen there, against those chosen alone.

Usage: python benchmarks/finals_in_model.py [SEEDS] [--models mlp,cnn] [--trials 64]

Tunes each model from nothing with each seed, builds it with the schedules that are the fastest
alone, holds the finals inside the model, and builds it anew. Where other schedules were chosen,
both builds are measured in turn, as the gate does. Prints the finals with their ratios, what they
took next to tuning, the ratio of the builds (below 1: chosen inside the model is faster) with its
interval, and the geometric mean of each model.

TUNERS_TARGET=host tunes for this machine's CPU.
"""

from __future__ import annotations

import argparse
import math
import os
import statistics
import tempfile
import time
from pathlib import Path

from models import open_model
from tuners import THREADS, open_tuned_case

from pytest_tvmtune.core.gating.confidence_sequence import evidence_of
from pytest_tvmtune.stages.case import Case
from pytest_tvmtune.stages.compiling import BuiltModel
from pytest_tvmtune.stages.finals_in_model import build_with_finals
from pytest_tvmtune.stages.latency.paired_measurement import measure
from pytest_tvmtune.stages.tuned_build import build_tuned
from pytest_tvmtune.stages.tuning_tasks import extract_tasks, tune_missing

MODELS = "mlp,cnn,magika,ppocr_cls,silero_vad"
ALPHA = 0.025
MEASURED_S = 20.0


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("seeds", nargs="?", type=int, default=3)
    parser.add_argument("--models", default=MODELS)
    parser.add_argument("--trials", type=int, default=64)
    options = parser.parse_args()
    os.environ.update(THREADS)
    print(f"load average at the start {os.getloadavg()[0]:.1f}")
    logs: dict[str, list[float]] = {}
    for seed in range(options.seeds):
        for model in options.models.split(","):
            ratio = _one(model, options.trials, seed)
            logs.setdefault(model, []).append(math.log(ratio))
    for model, values in logs.items():
        ratios = ", ".join(f"{math.exp(value):.3f}" for value in values)
        print(f"{model:10} geometric mean {math.exp(statistics.mean(values)):.3f} of {ratios}")
    print(f"load average at the end {os.getloadavg()[0]:.1f}")


def _one(model: str, trials: int, seed: int) -> float:
    with tempfile.TemporaryDirectory(prefix="finals-") as folder:
        case = open_tuned_case(open_model(model), model, Path(folder), trials=trials, seed=seed)
        plan = extract_tasks(case)
        tuned = tune_missing(case, plan)
        if tuned.error:
            raise tuned.error
        alone = build_tuned(case, plan).built
        started = time.perf_counter()
        compiled, finals = build_with_finals(case, plan, tuned)
        spent_s = time.perf_counter() - started
        print(
            f"{time.strftime('%H:%M:%S')}  {model} seed {seed}: tuned in {tuned.seconds:.0f} s, "
            f"finals in {spent_s:.1f} s"
        )
        for one in finals.results:
            print(f"    {one.sentence()}")
        return _ratio(case, alone, compiled.built) if finals.changed else 1.0


def _ratio(case: Case, alone: BuiltModel, in_model: BuiltModel) -> float:
    found = measure(
        case, alone.artifact, in_model.artifact, alpha=ALPHA, expected_s=0.001,
        max_time_s=MEASURED_S, tell_noise=False,
    )  # fmt: skip
    evidence = evidence_of(found.epochs, ALPHA)
    print(
        f"    in the model / alone {evidence.ratio:.3f} ({evidence.low:.3f} to {evidence.high:.3f})"
        f", {1e6 * evidence.baseline_median_s:.1f} us before",
        flush=True,
    )
    return evidence.ratio


if __name__ == "__main__":
    main()
