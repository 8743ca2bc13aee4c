"""Latency of the tuned model: this plugin's tuner against the stock pipeline, at equal trials.

Usage: python benchmarks/tuning_quality.py [SEEDS] [--models mlp,cnn,magika] [--keep FOLDER]

For each seed and model both tune from nothing, then what came of it is timed in turn in one
process. Prints each ratio (ours/stock; below 1 is faster) and, for each model and for all, the
geometric mean with a 95 % interval (Student's t on the log ratios).

The stock pipeline can't be given a seed: its own random ones vary all the same. It gets
`max_trials_per_task`, without which its first tasks take all trials, and imports its intrinsics as
fast as ours (benchmarks/fast_stock): less time, and no candidate lost to a time-out, which is to
its favour. Ours gets as many trials as the stock pipeline measured (fewer than it was asked for:
tasks with a single schedule leave theirs over), and deals them out by itself. An earlier run's
seeds that FOLDER holds are not run again.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

from scipy.stats import t as student_t  # comes with xgboost
from tuners import latencies, run_tuner

# Model -> trials asked for the whole model, and most for one task, of the stock pipeline.
BUDGETS = {"mlp": (64, 16), "cnn": (80, 16), "magika": (128, 6)}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("seeds", nargs="?", type=int, default=5)
    parser.add_argument("--models", default="mlp,cnn,magika")
    parser.add_argument("--keep", type=Path)
    options = parser.parse_args()
    root = options.keep or Path(tempfile.mkdtemp(prefix="tuning-quality-"))
    print(f"load average at the start {os.getloadavg()[0]:.1f}; {root}")
    logs: dict[str, list[float]] = {}
    for seed in range(options.seeds):
        for model in options.models.split(","):
            logs.setdefault(model, []).append(math.log(_one(root, model, seed)))
    print()
    for model, values in logs.items():
        print(_summary(model, values))
    print(_summary("all", [value for values in logs.values() for value in values]))
    print(f"load average at the end {os.getloadavg()[0]:.1f}")


def _one(root: Path, model: str, seed: int) -> float:
    trials, cap = BUDGETS[model]
    folders = [root / f"{model}-{seed}-{which}" for which in ("ours", "stock")]
    stock = _tuned("stock", model, trials=trials, cap=cap, seed=seed, folder=folders[1])
    ours = _tuned("ours", model, trials=stock["trials"], cap=0, seed=seed, folder=folders[0])
    ours_s, stock_s = latencies(model, folders)
    told = [
        f"{which} {spent['wall_s']:.0f} s, {spent['valid']}/{spent['trials']} valid"
        for which, spent in (("ours", ours), ("stock", stock))
    ]
    print(
        f"{time.strftime('%H:%M:%S')}  {model:8} seed {seed}  ours {ours_s * 1e6:9.1f} us  "
        f"stock {stock_s * 1e6:9.1f} us  ratio {ours_s / stock_s:.3f}  ({'; '.join(told)})",
        flush=True,
    )
    return ours_s / stock_s


def _tuned(which: str, model: str, *, folder: Path, **budget: int) -> dict[str, Any]:
    kept = folder / "spent.json"
    if kept.is_file():
        return dict(json.loads(kept.read_text()))
    folder.mkdir(parents=True, exist_ok=True)
    spent = run_tuner(which, model, folder=folder, fast_import=True, **budget)
    kept.write_text(json.dumps(spent))
    return spent


def _summary(name: str, logs: list[float]) -> str:
    mean = statistics.mean(logs)
    text = f"{name:8} geometric mean of {len(logs)} ratios ours/stock {math.exp(mean):.3f}"
    if len(logs) > 1:
        t = float(student_t.ppf(0.975, len(logs) - 1))
        half = t * statistics.stdev(logs) / math.sqrt(len(logs))
        text += f", 95 % interval {math.exp(mean - half):.3f} to {math.exp(mean + half):.3f}"
    return text


if __name__ == "__main__":
    main()
