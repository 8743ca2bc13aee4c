"""How often the latency gate is right: many decisions on slowdowns that are known exactly.

Usage: python benchmarks/gate_power.py [--scale F] [--rows REGEX] [--busy] [--keep FILE]
       python benchmarks/gate_power.py --from FILE      (only the tables, from kept samples)

The true slowdown is dialled by chains of equal kernels (gate_models.py): 103 against 100 do exactly
1.03 times the work. An A/A pair differs in the kernels' names, so in bytes, not in work; which of
the two is the baseline is random. Two kinds of row stand exactly on their boundary: A/A pairs with
next to 0 as threshold, and, as 1.03 times the work doesn't take quite 1.03 times as long, slower
ones with the pair's ratio in the long run, measured first. Each decision is a measuring process of
its own, as in a test. --busy: with a program that keeps every core busy. --scale: times the number
of decisions.

Prints one line for each scenario: the verdicts, the seconds and epochs they took, the epochs'
noise. Then what other rules say of the very same samples: of the decision's own baseline samples
("beside"), and of those that the decision before took ("stored", as tools that compare with a
stored number do): pytest-benchmark's --benchmark-compare-fail=median:3% and mean:3%, asv's
Mann-Whitney test with factor 1.1 and with 1.03, Criterion's rule with a noise threshold of 3 %.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import random
import re
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from itertools import pairwise
from pathlib import Path
from statistics import median, stdev
from typing import TYPE_CHECKING, Any

from gate_models import CHAINS, UNITS, open_chain
from gate_rules import RULES
from tuning_speed import keep_busy

from pytest_tvmtune.core.gating.confidence_sequence import (
    Epoch,
    decide,
    evidence_of,
    item_alpha,
    spread,
)
from pytest_tvmtune.core.settings.options import resolve_run
from pytest_tvmtune.core.settings.quantities import Threshold, parse_threshold

if TYPE_CHECKING:
    from pytest_tvmtune.relax.measuring import gate_job
    from pytest_tvmtune.stages.case import Case
    from pytest_tvmtune.store.artifacts import Artifact

SMALL = tuple(name for name in CHAINS if "20 ms" not in name)
LARGE = "compute 20 ms"
MIDDLE = "compute 1 ms"
MAX_TIME_S = 10.0
# Where nothing can be decided, waiting longer shows nothing more about errors.
BOUNDARY_TIME_S = 2.0
# The threshold of a row that is to stand exactly on its boundary, until it has been measured.
LONG_RUN = "long run"
LONG_RUN_PROCESSES = 15
# Of a pair of equal work, either one the baseline: the true slowdown is this, whatever the machine.
NEXT_TO_NONE = "0.000001%"
NEVER_DECIDED = 1e-12


@dataclass(frozen=True, kw_only=True)
class Row:
    """One scenario. percent: how much more work than the baseline's; decisions: how many."""

    what: str
    model: str
    percent: int
    threshold: str
    decisions: int
    max_time_s: float = MAX_TIME_S


@dataclass(frozen=True, kw_only=True)
class Decision:
    """One decision and its samples, (baseline seconds, now seconds) of each epoch."""

    row: Row
    epochs: list[tuple[list[float], list[float]]]
    spent_s: float


def rows() -> list[Row]:
    """Return all scenarios."""

    def row(what: str, model: str, percent: int, threshold: str, n: int, **more: Any) -> Row:
        return Row(
            what=what, model=model, percent=percent, threshold=threshold, decisions=n, **more
        )

    boundary = {"max_time_s": BOUNDARY_TIME_S}
    return [
        *(row("A/A", model, 0, t, 75) for t in ("3%", "1%") for model in SMALL),
        row("A/A", LARGE, 0, "3%", 36),
        row("A/A", LARGE, 0, "1%", 14),
        *(row("boundary", model, 0, NEXT_TO_NONE, 200, **boundary) for model in SMALL),
        *(row("boundary", model, 3, LONG_RUN, 100, **boundary) for model in SMALL),
        row("slower", MIDDLE, 5, "3%", 100),
        *(row("slower", model, 5, "3%", 30) for model in SMALL if model != MIDDLE),
        row("slower", LARGE, 5, "3%", 20),
        *(row("slower", model, 10, "3%", 20) for model in SMALL),
        row("slower", LARGE, 10, "3%", 10),
        *(row("faster", model, -10, "3%", 20) for model in SMALL),
        row("faster", LARGE, -10, "3%", 10),
        *(row("slower", model, 2, "1%", 25) for model in SMALL),
    ]


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--scale", type=float, default=1.0)
    parser.add_argument("--rows", default="", help="only rows whose text matches")
    parser.add_argument("--busy", action="store_true")
    parser.add_argument("--keep", type=Path, help="add the samples to this file")
    parser.add_argument("--from", dest="kept", type=Path)
    options = parser.parse_args()
    if options.kept is not None:
        decisions = _read(options.kept)
    else:
        chosen = [
            replace(row, decisions=max(1, round(options.scale * row.decisions)))
            for row in rows()
            if re.search(options.rows, f"{row.what} {row.model} {row.percent} {row.threshold}")
        ]
        cores = len(os.sched_getaffinity(0))
        print(f"{cores} cores, load average {os.getloadavg()[0]:.1f} at the start", flush=True)
        with keep_busy(cores if options.busy else 0), tempfile.TemporaryDirectory() as folder:
            decisions = _Taker(folder=Path(folder)).take(chosen, options.keep)
    print("\n".join(_verdict_lines(decisions)))
    print()
    print("\n".join(_rule_lines(decisions)))


@dataclass(frozen=True, kw_only=True)
class _Taker:
    """Takes decisions on chains built in `folder`."""

    folder: Path
    built: dict[tuple[str, int, str], tuple[Case, Artifact]] = field(default_factory=dict)
    rng: random.Random = field(default_factory=lambda: random.Random(0))

    def take(self, chosen: Sequence[Row], keep: Path | None) -> list[Decision]:
        """Take all in random order: none has the machine's better hours to itself."""
        exact = [self._on_boundary(row) if row.threshold == LONG_RUN else row for row in chosen]
        order = [row for row in exact for _ in range(row.decisions)]
        self.rng.shuffle(order)
        decisions = []
        started = time.monotonic()
        for number, row in enumerate(order, start=1):
            measured = self._measure(row, item_alpha(1), parse_threshold(row.threshold, "row"))
            epochs = [(list(epoch.baseline_s), list(epoch.now_s)) for epoch in measured.epochs]
            decisions.append(Decision(row=row, epochs=epochs, spent_s=measured.spent_s))
            if keep is not None:
                with keep.open("a") as file:
                    file.write(json.dumps(asdict(decisions[-1])) + "\n")
            if number % 50 == 0:
                spent_s = time.monotonic() - started
                print(f"  {number} of {len(order)} in {spent_s:.0f} s", flush=True)
        return decisions

    def _on_boundary(self, row: Row) -> Row:
        """Return the row with the median of some processes' ratios as its threshold."""
        ratios = []
        for _ in range(LONG_RUN_PROCESSES):
            epochs = self._measure(row, NEVER_DECIDED, parse_threshold("3%", "row")).epochs
            ratios.append(math.expm1(median(epoch.log_ratio for epoch in epochs)))
        print(
            f"{row.model}: {median(ratios):.3%} slower in the long run; {len(ratios)} processes of "
            f"{len(epochs)} epochs each, sd {stdev(ratios):.3%}",
            flush=True,
        )
        return replace(row, threshold=f"{100 * median(ratios):.3f}%")

    def _measure(self, row: Row, alpha: float, threshold: Threshold) -> gate_job.Result:
        from pytest_tvmtune.stages.latency.paired_measurement import measure

        case, old = self._chain(row.model, UNITS, "kernel")
        _, new = self._chain(row.model, UNITS + row.percent, "renamed")
        if row.percent == 0 and self.rng.random() < 0.5:
            old, new = new, old
        options = replace(case.options, threshold=threshold, max_time_s=row.max_time_s)
        return measure(
            replace(case, options=options),
            old,
            new,
            alpha=alpha,
            expected_s=0.02,
            tell_noise=False,
        )

    def _chain(self, model: str, units: int, naming: str) -> tuple[Case, Artifact]:
        name = (model, units, naming)
        if name not in self.built:
            self.built[name] = build_chain(self.folder, *name)
        return self.built[name]


def build_chain(folder: Path, model: str, units: int, naming: str) -> tuple[Case, Artifact]:
    """Return a chain of gate_models as a case and its artifact, in a store in `folder`."""
    from pytest_tvmtune.core.settings.target_spec import parse_target
    from pytest_tvmtune.stages.case import RunContext, open_case
    from pytest_tvmtune.stages.compiling import build_untuned
    from pytest_tvmtune.store.layout import open_store

    store = open_store(folder / "store")
    run = resolve_run({"trials": 0, "num_threads": 1}, store_dir=store.root)
    options = run.case_options({}, target=parse_target("llvm"), prepack=False)
    opened = open_chain(model, units=units, naming=naming)
    case = open_case(opened, options, RunContext(store=store), name=naming, nodeid=model)
    return case, build_untuned(case).artifact


def _read(path: Path) -> list[Decision]:
    loaded = [json.loads(line) for line in path.read_text().splitlines()]
    return [Decision(**{**values, "row": Row(**values["row"])}) for values in loaded]


def _by_row(decisions: Sequence[Decision]) -> dict[Row, list[Decision]]:
    """Return the decisions of each scenario, however many were asked for at a time."""
    found: dict[Row, list[Decision]] = {}
    for decision in decisions:
        found.setdefault(replace(decision.row, decisions=0), []).append(decision)
    return found


def _verdict(decision: Decision) -> str:
    evidence = evidence_of(_epochs(decision), item_alpha(1))
    return decide(evidence, parse_threshold(decision.row.threshold, "row"), final=True)


def _epochs(decision: Decision) -> list[Epoch]:
    return [Epoch(baseline_s=tuple(old), now_s=tuple(new)) for old, new in decision.epochs]


def _label(row: Row) -> str:
    return f"{row.what:9} {row.model:15} {row.percent:+3d}% at {row.threshold}"


def _verdict_lines(decisions: Sequence[Decision]) -> list[str]:
    kinds = ("REGRESSION", "IMPROVEMENT", "PASS", "INCONCLUSIVE")
    heading = f"{'scenario':36} {'n':>4} {'REGR':>5} {'IMPR':>5} {'PASS':>5} {'INCO':>5}  "
    lines = [heading + f"{'seconds: median':>15} {'worst':>6}  {'epochs':>6}  noise"]
    for row, taken in _by_row(decisions).items():
        verdicts = Counter(_verdict(decision) for decision in taken)
        seconds = [decision.spent_s for decision in taken]
        noise = median(spread(_epochs(decision)) for decision in taken)
        counts = " ".join(f"{verdicts[kind]:5d}" for kind in kinds)
        lines.append(
            f"{_label(row):36} {len(taken):4d} {counts}  {median(seconds):15.2f} "
            f"{max(seconds):6.2f}  {median(len(d.epochs) for d in taken):6.0f}  {noise:.2%}"
        )
    return lines


def _rule_lines(decisions: Sequence[Decision]) -> list[str]:
    """Return the share of decisions in which each rule finds the new side slower."""
    names = list(RULES)
    lines = [
        "share called slower, on the very same samples: taken beside / against stored ones",
        f"{'scenario':36} {'ours':>11} " + " ".join(f"{name:>17}" for name in names),
    ]
    for row, taken in _by_row(decisions).items():
        ours = sum(_verdict(decision) == "REGRESSION" for decision in taken) / len(taken)
        cells = []
        for rule in RULES.values():
            beside = [rule(*_pooled(decision)) for decision in taken]
            stored = [
                rule(_pooled(before)[0], _pooled(decision)[1])
                for before, decision in pairwise(taken)
            ]
            shares = [sum(found) / len(found) if found else 0.0 for found in (beside, stored)]
            cells.append(f"{shares[0]:8.0%} / {shares[1]:4.0%} ")
        lines.append(f"{_label(row):36} {ours:11.0%} " + " ".join(f"{c:>17}" for c in cells))
    return lines


def _pooled(decision: Decision) -> tuple[list[float], list[float]]:
    """Return all samples of the baseline, and all of now, in the order they were taken."""
    old = [s for before, _ in decision.epochs for s in before]
    new = [s for _, after in decision.epochs for s in after]
    return old, new


if __name__ == "__main__":
    main()
