"""Wall time of tuning a model from nothing: this plugin's tuner against the stock pipeline.

Usage: python benchmarks/tuning_speed.py [RUNS] [--models mlp,magika] [--busy]

Both run in turn, each in a fresh process with an empty work_dir, Python's start included, and end
with the lowered module. Both are asked for the same number of trials; for Magika the stock pipeline
also gets a cap for one task, without which its first two tasks take all, where ours needs none and
spends more. --busy: with another program that keeps every core busy meanwhile. Prints
each pair, and for each model the median ratio ours/stock with its spread and the share of trials
that gave a measurement.
"""

from __future__ import annotations

import argparse
import contextlib
import multiprocessing
import os
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median

from tuners import CORES, run_tuner

# Model -> trials asked for the whole model, and most for one task, of the stock pipeline.
BUDGETS = {"mlp": (64, 16), "cnn": (80, 16), "magika": (128, 6)}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("runs", nargs="?", type=int, default=3)
    parser.add_argument("--models", default="mlp,magika")
    parser.add_argument("--busy", action="store_true")
    options = parser.parse_args()
    load = "every core kept busy" if options.busy else "nothing else of ours running"
    print(f"{CORES} cores, {load}, load average {os.getloadavg()[0]:.1f}")
    with keep_busy(CORES if options.busy else 0):
        for model in options.models.split(","):
            _compare(model, options.runs)


def _compare(model: str, runs: int) -> None:
    trials, cap = BUDGETS[model]
    ratios: list[float] = []
    counts = {"ours": [0, 0], "stock": [0, 0]}
    for run in range(runs):
        wall_s: dict[str, float] = {}
        for which in ("ours", "stock") if run % 2 else ("stock", "ours"):
            with tempfile.TemporaryDirectory() as folder:
                done = run_tuner(
                    which,
                    model,
                    trials=trials,
                    cap=0 if which == "ours" and model == "magika" else cap,
                    seed=run,
                    folder=Path(folder),
                )
            wall_s[which] = done["wall_s"]
            counts[which][0] += done["valid"]
            counts[which][1] += done["trials"]
        ratios.append(wall_s["ours"] / wall_s["stock"])
        print(
            f"{time.strftime('%H:%M:%S')}  {model:8} stock {wall_s['stock']:6.1f} s  "
            f"ours {wall_s['ours']:6.1f} s  ratio {ratios[-1]:.3f}",
            flush=True,
        )
    valid = ", ".join(
        f"{which} {good}/{all_} ({good / max(1, all_):.0%})"
        for which, (good, all_) in counts.items()
    )
    print(
        f"{model:8} median ratio {median(ratios):.3f} ({min(ratios):.3f} to {max(ratios):.3f}), "
        f"{runs} runs; valid trials: {valid}"
    )


@contextlib.contextmanager
def keep_busy(processes: int) -> Iterator[None]:
    """Keep cores busy with processes that count."""
    busy = [multiprocessing.Process(target=_spin, daemon=True) for _ in range(processes)]
    for process in busy:
        process.start()
    try:
        yield
    finally:
        for process in busy:
            process.kill()


def _spin() -> None:
    count = 0
    while True:
        count += 1


if __name__ == "__main__":
    main()
