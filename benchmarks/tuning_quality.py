"""Latency of tuned models against trials and wall time: this tuner, the stock pipeline, a runtime.

Usage: python benchmarks/tuning_quality.py [SEEDS] [--models mlp,cnn,magika] [--trials 16,64,256]
           [--tuners stock,cold,others] [--keep FOLDER] [--plot FOLDER]

For each seed, model, and number of trials, the model is tuned by the stock pipeline, by ours from
nothing, and by ours with the stores that its cold runs left for the *other* models of --models:
leave one out. What came of all of them is timed in turn in one process, next to one thread of
onnxruntime for a model from an ONNX file. Prints each latency, and, for each number of trials, the
geometric mean of the ratios ours/stock, cold/onnxruntime, and others/cold, with a 95 % interval
(Student's t on the log ratios), for each model and for all; below 1 is faster. --plot writes an SVG
for each model.

The stock pipeline can't be given a seed: its own random ones vary all the same. It gets as
`max_trials_per_task` a task's fair share, without which its first tasks take all trials, and
imports its intrinsics as fast as ours (benchmarks/fast_stock): less time, and no candidate lost to
a time-out, which is to its favour. Next to it, ours gets as many trials as the stock pipeline
measured (fewer than it was asked for: tasks with a single schedule leave theirs over), and deals
them out by itself. An earlier run's results that FOLDER holds are not made again.
TUNERS_TARGET=host tunes for this machine's CPU, TUNERS_PREPACK=1 prepacks the weights.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import statistics
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

from scipy.stats import t as student_t  # comes with xgboost
from tuners import RUNTIME, latencies, run_tuner

from pytest_tvmtune.report import svg

TASKS = {"mlp": 4, "cnn": 5, "magika": 22, "ppocr_cls": 70, "silero_vad": 68,
         "encoder_block": 9, "resnet18": 20}  # fmt: skip
NAMES = {"stock": "TVM's pipeline", "cold": "this tuner", "others": "with a store of other models"}
STYLE = (
    ".stock { stroke: #c33; } .cold { stroke: #06c; } .others { stroke: #090; } "
    ".runtime { stroke: #555; stroke-dasharray: 4 3 } path.dot { stroke-width: 5; "
    "stroke-linecap: round } text.stock { fill: #c33; stroke: none } "
    "text.cold { fill: #06c; stroke: none } text.others { fill: #090; stroke: none } "
    "text.runtime { stroke: none }"
)


@dataclass(frozen=True, kw_only=True)
class Tuned:
    """A tuned model. wall_s: what tuning took, Python's start included."""

    model: str
    seed: int
    tuner: str
    trials: int
    wall_s: float
    latency_s: float


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("seeds", nargs="?", type=int, default=5)
    parser.add_argument("--models", default="mlp,cnn,magika")
    parser.add_argument("--trials", default="64")
    parser.add_argument("--tuners", default="stock,cold")
    parser.add_argument("--keep", type=Path)
    parser.add_argument("--plot", type=Path)
    options = parser.parse_args()
    root = options.keep or Path(tempfile.mkdtemp(prefix="tuning-quality-"))
    print(f"load average at the start {os.getloadavg()[0]:.1f}; {root}")
    models, tuners = options.models.split(","), options.tuners.split(",")
    counts = sorted(map(int, options.trials.split(",")))
    rows: list[Tuned] = []
    for seed in range(options.seeds):
        for model in models:
            found = Runs(root=root, seed=seed, counts=counts).compare(model, tuners, models)
            told = [
                f"{row.tuner} {row.trials}: {1e6 * row.latency_s:.1f} us ({row.wall_s:.0f} s)"
                for row in found
                if row.tuner != RUNTIME
            ]
            if found[-1].tuner == RUNTIME:
                told.append(f"{RUNTIME}: {1e6 * found[-1].latency_s:.1f} us")
            print(
                f"{time.strftime('%H:%M:%S')}  {model} seed {seed}  {', '.join(told)}", flush=True
            )
            rows += found
    for count in counts:
        print(f"\n{count} trials")
        for upper, lower in (("cold", "stock"), ("cold", RUNTIME), ("others", "cold")):
            logs = {model: _logs(rows, model, count, upper, lower) for model in models}
            for model, values in logs.items():
                _print_mean(f"{model:13} {upper}/{lower}", values)
            if len(models) > 1:
                _print_mean(
                    f"{'all':13} {upper}/{lower}", [v for row in logs.values() for v in row]
                )
    if options.plot:
        options.plot.mkdir(parents=True, exist_ok=True)
        for model in models:
            plot = _plot([row for row in rows if row.model == model], model)
            (options.plot / f"tuning-{model}.svg").write_text(plot)
    print(f"load average at the end {os.getloadavg()[0]:.1f}")


@dataclass(frozen=True, kw_only=True)
class Runs:
    """The tuning runs of a seed, whose results are kept in folders of `root`.

    counts: numbers of trials.
    """

    root: Path
    seed: int
    counts: Sequence[int]

    def compare(self, model: str, tuners: Sequence[str], models: Sequence[str]) -> list[Tuned]:
        """Return what all tuners come to, and the runtime, timed in turn."""
        stores = []
        if "others" in tuners:
            for other in models:
                if other != model:
                    self._tuned(other, "cold", self.counts[-1])
                    stores.append(self._folder(other, "cold", self.counts[-1]))
        spent: dict[tuple[str, int], dict[str, Any]] = {}
        for tuner in tuners:
            for count in self.counts:
                measured = spent.get(("stock", count), {"trials": count})["trials"]
                spent[tuner, count] = self._tuned(
                    model, tuner, count, trials=measured, stores=stores
                )
        folders = [self._folder(model, tuner, count) for tuner, count in spent]
        *found_s, runtime_s = latencies(model, folders, runtime=True)
        rows = [
            Tuned(
                model=model,
                seed=self.seed,
                tuner=tuner,
                trials=count,
                wall_s=one["wall_s"],
                latency_s=latency_s,
            )
            for ((tuner, count), one), latency_s in zip(spent.items(), found_s, strict=True)
        ]
        if not runtime_s:
            return rows
        return [
            *rows,
            *(
                replace(rows[0], tuner=RUNTIME, trials=count, wall_s=0.0, latency_s=runtime_s)
                for count in self.counts
            ),
        ]

    def _folder(self, model: str, tuner: str, count: int) -> Path:
        return self.root / f"{model}-{self.seed}-{tuner}-{count}"

    def _tuned(
        self, model: str, tuner: str, count: int, *, trials: int = 0, stores: Sequence[Path] = ()
    ) -> dict[str, Any]:
        folder = self._folder(model, tuner, count)
        kept = folder / "spent.json"
        if not kept.is_file():
            folder.mkdir(parents=True, exist_ok=True)
            stock = tuner == "stock"
            spent = run_tuner(
                "stock" if stock else "ours",
                model,
                trials=count if stock else trials or count,
                cap=math.ceil(count / TASKS[model]) if stock else 0,
                seed=self.seed,
                folder=folder,
                fast_import=True,
                others=stores if tuner == "others" else (),
            )
            kept.write_text(json.dumps(spent))
        return dict(json.loads(kept.read_text()))


def _logs(rows: list[Tuned], model: str, count: int, upper: str, lower: str) -> list[float]:
    of = {
        (row.tuner, row.seed): row.latency_s
        for row in rows
        if (row.model, row.trials) == (model, count)
    }
    seeds = sorted({seed for _, seed in of})
    return [
        math.log(of[upper, seed] / of[lower, seed])
        for seed in seeds
        if (upper, seed) in of and (lower, seed) in of
    ]


def _print_mean(name: str, logs: list[float]) -> None:
    if not logs:
        return
    mean = statistics.mean(logs)
    text = f"{name:24} geometric mean of {len(logs)} ratios {math.exp(mean):.3f}"
    if len(logs) > 1:
        t = float(student_t.ppf(0.975, len(logs) - 1))
        half = t * statistics.stdev(logs) / math.sqrt(len(logs))
        text += f", 95 % interval {math.exp(mean - half):.3f} to {math.exp(mean + half):.3f}"
    print(text)


def _plot(rows: list[Tuned], model: str) -> str:
    """Return the latency against the wall time of tuning: medians over seeds."""
    points: dict[str, list[tuple[float, float, int]]] = {}
    for tuner in NAMES:
        for count in sorted({row.trials for row in rows if row.tuner == tuner}):
            same = [row for row in rows if (row.tuner, row.trials) == (tuner, count)]
            points.setdefault(tuner, []).append(
                (
                    statistics.median(row.wall_s for row in same),
                    1e6 * statistics.median(row.latency_s for row in same),
                    count,
                )
            )
    runtime = [1e6 * row.latency_s for row in rows if row.tuner == RUNTIME]
    every = [y for line in points.values() for _, y, _ in line] + runtime
    walls = [x for line in points.values() for x, _, _ in line]
    x = svg.across(0.8 * min(walls), 1.4 * max(walls), log=True)
    y = svg.upward(0.8 * min(every), 1.25 * max(every), log=True)
    y_ticks = svg.log_ticks(y.low, y.high) or svg.ticks(y.low, y.high)
    parts = svg.axes(
        x=x, y=y, x_ticks=svg.log_ticks(x.low, x.high), y_ticks=y_ticks, x_format="{:g}".format,
        y_format="{:g}".format, x_label="wall time of tuning in s, and trials at each point",
    )  # fmt: skip
    for index, (tuner, line) in enumerate(points.items()):
        ends = [(x(wall), y(latency)) for wall, latency, _ in line]
        for start, end in pairwise(ends):
            parts.append(svg.line(tuner, *start, *end))
        parts.append(svg.dots(f"{tuner} dot", ends))
        for (px, py), (_, _, count) in zip(ends, line, strict=True):
            parts.append(svg.text(f"{tuner} middle", px, py - 7, str(count)))
        words = svg.text(f"{tuner} end", svg.RIGHT - 6, svg.TOP + 14 + 13 * index, NAMES[tuner])
        parts.append(words)
    if runtime:
        level = y(statistics.median(runtime))
        parts.append(svg.line("runtime", svg.LEFT, level, svg.RIGHT, level))
        parts.append(svg.text("runtime", svg.LEFT + 6, level - 5, "onnxruntime, one thread"))
    return svg.chart_file(parts, heading=f"{model}: latency of a call in us", style=STYLE)


if __name__ == "__main__":
    main()
