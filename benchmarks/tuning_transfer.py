"""What a store of other models is worth: few trials with it, against more trials without it.

Usage: python benchmarks/tuning_transfer.py [SEEDS] [--models mlp,cnn] [--trials 16,32,64]
           [--source cnn] [--keep FOLDER]

For each seed, each model is tuned from nothing with each number of trials, and then once more with
the stores that the other models of the same seed left after the largest number: leave one out.
With --source, it's the store of that model instead, such as `--models cnn_wide --source cnn` for a
model that changed its shapes. What came of it is timed in turn, in one process. Prints, for each
model and seed, the latency of each next to that of a cold run with the largest number (below 1 is
faster), with the seconds that tuning took, and the medians.

TUNERS_TARGET=host tunes for this machine's CPU. An earlier run's results that FOLDER holds are not
made again.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any

from tuners import latencies, run_tuner

MODELS = "mlp,cnn,magika,ppocr_cls,silero_vad"


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("seeds", nargs="?", type=int, default=5)
    parser.add_argument("--models", default=MODELS)
    parser.add_argument("--trials", default="16,32,64")
    parser.add_argument("--source")
    parser.add_argument("--keep", type=Path)
    options = parser.parse_args()
    root = options.keep or Path(tempfile.mkdtemp(prefix="tuning-transfer-"))
    print(f"load average at the start {os.getloadavg()[0]:.1f}; {root}")
    models = options.models.split(",")
    counts = sorted(map(int, options.trials.split(",")))
    ratios: dict[str, list[float]] = {}
    for seed in range(options.seeds):
        for model in models:
            sources = [options.source] if options.source else [m for m in models if m != model]
            others = [_tuned(root, one, counts[-1], seed) for one in sources]
            folders = {
                **{f"cold {count}": _tuned(root, model, count, seed) for count in counts[::-1]},
                **{f"others {count}": _tuned(root, model, count, seed, others) for count in counts},
            }
            found_s = latencies(model, list(folders.values()))
            parts = []
            for name, latency_s in zip(folders, found_s, strict=True):
                ratio = latency_s / found_s[0]
                ratios.setdefault(name, []).append(ratio)
                parts.append(f"{name}: {ratio:.3f} ({_wall_s(folders[name]):.0f} s)")
            print(
                f"{time.strftime('%H:%M:%S')}  {model:10} seed {seed}  {1e6 * found_s[0]:9.1f} us  "
                f"{', '.join(parts)}",
                flush=True,
            )
    for name, values in ratios.items():
        print(
            f"{name:10} median of {len(values)} ratios {median(values):.3f} "
            f"({min(values):.3f} to {max(values):.3f})"
        )
    print(f"load average at the end {os.getloadavg()[0]:.1f}")


def _tuned(root: Path, model: str, trials: int, seed: int, others: Sequence[Path] = ()) -> Path:
    folder = root / f"{model}-{seed}-{'others' if others else 'cold'}-{trials}"
    kept = folder / "spent.json"
    if not kept.is_file():
        folder.mkdir(parents=True, exist_ok=True)
        spent: dict[str, Any] = run_tuner(
            "ours", model, trials=trials, cap=0, seed=seed, folder=folder, others=others
        )
        kept.write_text(json.dumps(spent))
    return folder


def _wall_s(folder: Path) -> float:
    return float(json.loads((folder / "spent.json").read_text())["wall_s"])


if __name__ == "__main__":
    main()
