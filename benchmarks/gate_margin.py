"""The bias that all epochs of a process have in common, and the gate's margin for it.

Usage: python benchmarks/gate_margin.py [PROCESSES] [--keep FILE | --from FILE]

Takes PROCESSES (default 100) processes of each of three chains (gate_models.py): 100 kernels
against 100 of other names, so that the true ratio is exactly 1, and for 2 s, whatever they show.
Some processes more of 105 kernels against 100 tell how many epochs a decision needs.

Prints, for each chain, the noise of an epoch, the variance of sums of signs next to that of
independent signs, and the part of the variance of processes' means that their epochs don't explain:
the bias. Then what two rules decide of the same samples at the boundary, where every decision but
INCONCLUSIVE is an error: 55 % of alpha without a margin (before), and all of alpha with a margin of
0.1 % on the ratio (now); and the epochs that they need. Last, the computed probability of a false
REGRESSION in a run of pytest with so many items, all exactly at their limit.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import random
import tempfile
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import NormalDist, fmean, median, variance

import numpy as np
from gate_power import BOUNDARY_TIME_S, NEVER_DECIDED, SMALL, build_chain

from pytest_tvmtune.core.gating.confidence_sequence import (
    confidence_bounds,
    item_alpha,
    needed_signs,
)
from pytest_tvmtune.core.settings.quantities import parse_threshold

ITEMS = (1, 100, 1000)
SLOWER = 5
# Epochs of a long decision: what a bias does grows with their number.
MOST_EPOCHS = 400
# Of the bias of a process, which is taken as normal.
POINTS = 400
BIASES = (0.0, 0.03, 0.05)
NOISES = (0.4, 0.8)


@dataclass(frozen=True, kw_only=True)
class Rule:
    """spent: part of alpha. margin: on the ratio, in logarithms."""

    name: str
    spent: float
    margin: float

    def bounds(self, ratios: Sequence[float], items: int) -> tuple[float, float]:
        """Return the interval of a decision of one of so many items."""
        low, high = confidence_bounds(ratios, self.spent * item_alpha(items))
        return low - self.margin, high + self.margin


RULES = (
    Rule(name="before", spent=0.55, margin=0.0),
    Rule(name="all of alpha", spent=1.0, margin=0.0),
    Rule(name="now", spent=1.0, margin=math.log(1.001)),
)


@dataclass(frozen=True, kw_only=True)
class Taken:
    """A process: the log ratio of each of its epochs."""

    model: str
    percent: int
    ratios: list[float]


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("processes", type=int, nargs="?", default=100)
    parser.add_argument("--keep", type=Path, help="add the samples to this file")
    parser.add_argument("--from", dest="kept", type=Path)
    options = parser.parse_args()
    if options.kept is not None:
        lines = options.kept.read_text().splitlines()
        taken = [Taken(**json.loads(line)) for line in lines]
    else:
        print(f"load average {os.getloadavg()[0]:.1f} at the start", flush=True)
        taken = take(options.processes, options.keep)
    print_biases(taken)
    print_errors(taken)
    print_epochs(taken)
    print_computed()


def take(processes: int, keep: Path | None) -> list[Taken]:
    from pytest_tvmtune.stages.latency.paired_measurement import measure

    rng = random.Random(0)
    order = [(model, 0) for model in SMALL for _ in range(processes)]
    order += [(model, SLOWER) for model in SMALL for _ in range(max(1, processes // 5))]
    rng.shuffle(order)
    taken = []
    with tempfile.TemporaryDirectory() as folder:
        chains = {
            (model, percent, naming): build_chain(Path(folder), model, 100 + percent, naming)
            for model in SMALL
            for percent, naming in ((0, "kernel"), (0, "renamed"), (SLOWER, "renamed"))
        }
        for number, (model, percent) in enumerate(order, start=1):
            case, old = chains[model, 0, "kernel"]
            _, new = chains[model, percent, "renamed"]
            if percent == 0 and rng.random() < 0.5:
                old, new = new, old
            threshold = parse_threshold("3%", "threshold")
            case_options = replace(case.options, threshold=threshold, max_time_s=BOUNDARY_TIME_S)
            measured = measure(
                replace(case, options=case_options),
                old,
                new,
                alpha=NEVER_DECIDED,
                expected_s=0.02,
                tell_noise=False,
            )
            ratios = [epoch.log_ratio for epoch in measured.epochs]
            taken.append(Taken(model=model, percent=percent, ratios=ratios))
            if keep is not None:
                with keep.open("a") as file:
                    file.write(json.dumps(vars(taken[-1])) + "\n")
            if number % 50 == 0:
                print(f"  {number} of {len(order)}", flush=True)
    return taken


def print_biases(taken: Sequence[Taken]) -> None:
    print("chain            processes  epochs  noise   variance of signs  halves  bias (95 %)")
    for model in SMALL:
        own = [one.ratios for one in taken if one.model == model and one.percent == 0]
        if len(own) < 3:
            continue
        centers = [_trimmed_mean(ratios) for ratios in own]
        everyone = median(ratio for ratios in own for ratio in ratios)
        signs = [
            (2 * sum(ratio > everyone for ratio in ratios) - len(ratios)) / math.sqrt(len(ratios))
            for ratios in own
        ]
        # Halves that are as far from each other as two processes are show no bias in common.
        halves = [(_trimmed_mean(one[0::2]), _trimmed_mean(one[1::2])) for one in own]
        mean = fmean(value for pair in halves for value in pair)
        shared = [(a - mean) * (b - mean) for a, b in halves]
        error = 2 * math.sqrt(variance(shared) / len(shared))
        bias = [_root(fmean(shared) + by) for by in (0.0, -error, error)]
        first, second = [a for a, _ in halves], [b for _, b in halves]
        noise = median(_spread(ratios) for ratios in own)
        print(
            f"{model:15}  {len(own):9}  {median(map(len, own)):6.0f}  {noise:.2%}  "
            f"{fmean(sign * sign for sign in signs):17.2f}  {_correlation(first, second):+6.2f}  "
            f"{bias[0]:.3%} ({bias[1]:.3%} to {bias[2]:.3%}); processes' sd "
            f"{math.sqrt(variance(centers)):.3%}, farthest {max(map(abs, centers)):.3%}"
        )


def print_errors(taken: Sequence[Taken]) -> None:
    print("\nat the boundary         items  decisions  false REGRESSION  false IMPROVEMENT")
    own = [one.ratios for one in taken if one.percent == 0]
    for items in ITEMS:
        for rule in RULES:
            found = Counter(_first_error(rule, ratios, items) for ratios in own)
            print(
                f"  {rule.name:20}  {items:5}  {len(own):9}  {found['slower']:16}  "
                f"{found['faster']:17}"
            )


def _first_error(rule: Rule, ratios: Sequence[float], items: int) -> str:
    for count in range(1, len(ratios) + 1):
        low, high = rule.bounds(ratios[:count], items)
        if low > 0:
            return "slower"
        if high < 0:
            return "faster"
    return ""


def print_epochs(taken: Sequence[Taken]) -> None:
    limit = math.log(1.03)
    print("\nmedian epochs until a decision at 3 %  items  A/A: PASS  +5 %: REGRESSION")
    for items in ITEMS:
        for rule in RULES:
            passes, fails = [], []
            for one in taken:
                for count in range(1, len(one.ratios) + 1):
                    low, high = rule.bounds(one.ratios[:count], items)
                    if one.percent == 0 and low > -limit and high < limit:
                        passes.append(count)
                        break
                    if one.percent and low > limit:
                        fails.append(count)
                        break
            print(
                f"  {rule.name:35}  {items:5}  {median(passes) if passes else math.nan:9.1f}  "
                f"{median(fails) if fails else math.nan:16.1f}"
            )


def print_computed() -> None:
    print(
        f"\ncomputed: a false REGRESSION in a run, all items at their limit, {MOST_EPOCHS} epochs"
    )
    print("  bias (sd)  noise  items  " + "  ".join(f"{rule.name:>12}" for rule in RULES))
    for bias in BIASES:
        for noise in NOISES:
            for items in ITEMS:
                cells = [
                    1 - (1 - _error(rule, items, bias / 100, noise / 100)) ** items
                    for rule in RULES
                ]
                print(
                    f"  {bias:7.2f} %  {noise:.1f} %  {items:5}  "
                    + "  ".join(f"{cell:12.2%}" for cell in cells)
                )


def _error(rule: Rule, items: int, bias: float, noise: float) -> float:
    """Return the probability of a false REGRESSION of one item.

    An epoch is above the limit with the probability that normal noise gives; the bias of a process
    is normal, too, and so are its quadrature points here.
    """
    normal = NormalDist()
    points = [normal.inv_cdf((i + 0.5) / POINTS) for i in range(POINTS)] if bias else [0.0]
    above = np.array([[normal.cdf((point * bias - rule.margin) / noise)] for point in points])
    alpha = rule.spent * item_alpha(items)
    # Of each number of signs so far, for each point.
    chances = np.zeros((len(points), MOST_EPOCHS + 2))
    chances[:, 0] = 1.0
    reached = 0.0
    for count in range(1, MOST_EPOCHS + 1):
        following = chances * (1 - above)
        following[:, 1:] += (chances * above)[:, :-1]
        if (needed := needed_signs(count, alpha)) is not None:
            reached += float(following[:, needed:].sum()) / len(points)
            following[:, needed:] = 0.0
        chances = following
    return reached


def _trimmed_mean(values: Sequence[float]) -> float:
    """Return the mean of the middle half: nearly as robust as a median, and less noisy."""
    ordered = sorted(values)
    quarter = len(ordered) // 4
    return fmean(ordered[quarter : len(ordered) - quarter])


def _spread(values: Sequence[float]) -> float:
    middle = median(values)
    return 1.4826 * median(abs(value - middle) for value in values)


def _correlation(one: Sequence[float], other: Sequence[float]) -> float:
    a, b = fmean(one), fmean(other)
    above = sum((x - a) * (y - b) for x, y in zip(one, other, strict=True))
    below = math.sqrt(sum((x - a) ** 2 for x in one) * sum((y - b) ** 2 for y in other))
    return above / below


def _root(value: float) -> float:
    return math.sqrt(max(0.0, value))


if __name__ == "__main__":
    main()
