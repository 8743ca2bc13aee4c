"""Merges of +1 % each: what the gate says next to the moving baseline, and next to the anchor.

Usage: python benchmarks/drift.py [RUNS [FIRST]]      (default: 20 runs, from the first merge)

A model is a chain of 200 equal kernels (gate_models.py), and each merge makes it 1 % longer: after
ten merges it does 1.105 times the work, after thirteen 1.14 times. Each merge is gated at 3 %
against the merge before, which is accepted if it passes, and at 10 % against the anchor, which
stays. All three run in the same epochs.

Prints, for each merge, the verdicts of all runs and the seconds of a decision; then, at one merge,
what it costs with the anchor and without it, in turn.
"""

from __future__ import annotations

import os
import random
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

from gate_models import open_chain
from variants import built_case

from pytest_tvmtune.core.gating.accepted_baseline import Baseline
from pytest_tvmtune.core.gating.case_identity import Identity
from pytest_tvmtune.core.settings.quantities import parse_threshold

if TYPE_CHECKING:
    from pytest_tvmtune.stages.case import Case
    from pytest_tvmtune.stages.compiling import BuiltModel
    from pytest_tvmtune.stages.devices.loaded_model import LoadedModel
    from pytest_tvmtune.stages.outcomes import LatencyOutcome

MODEL = "compute 0.1 ms"
UNITS = 200
MERGES = 13
MAX_TIME_S = 10.0
COST_ROUNDS = 10
MANY = 10**40
IDENTITY = Identity(
    path="test_chain.py", cls="", function="test_chain", params="", name="chain", entry="main",
    target_name="llvm", prepack=False,
)  # fmt: skip


@dataclass(frozen=True, kw_only=True, eq=False)
class Version:
    """A version of the model: its case, and what is accepted of it."""

    case: Case
    built: BuiltModel
    loaded: LoadedModel
    accepted: Baseline

    def judged(self, baseline: Baseline, anchor: Baseline | None) -> LatencyOutcome:
        """Return the verdicts on this version."""
        from pytest_tvmtune.stages.latency.latency_gate import judge_latency

        return judge_latency(self.case, self.built, self.loaded, baseline, anchor=anchor)


def main() -> None:
    runs, first = (*map(int, sys.argv[1:]), *(20, 1)[len(sys.argv) - 1 :])
    print(f"load average {os.getloadavg()[0]:.1f} at the start, {runs} runs", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        versions = [_version(Path(folder), number) for number in range(MERGES + 1)]
        _print_merges(versions, runs, first)
        _print_costs(versions)


def _version(folder: Path, number: int) -> Version:
    from pytest_tvmtune.stages.baseline_proposal import propose_baseline
    from pytest_tvmtune.stages.compiling import load

    units = round(UNITS * 1.01**number)
    case, built = built_case(folder, open_chain(MODEL, units=units, naming="kernel"))
    options = replace(
        case.options,
        threshold=parse_threshold("3%", "threshold"),
        max_drift=parse_threshold("10%", "max_drift"),
        max_time_s=MAX_TIME_S,
    )
    case = replace(case, options=options)
    accepted = propose_baseline(case, IDENTITY, built, [1e-4]).baseline
    return Version(case=case, built=built, loaded=load(case, built), accepted=accepted)


def _print_merges(versions: list[Version], runs: int, first: int) -> None:
    baselines: list[Counter[str]] = [Counter() for _ in versions]
    anchors: list[Counter[str]] = [Counter() for _ in versions]
    spent: list[list[float]] = [[] for _ in versions]
    for _ in range(runs):
        accepted = versions[first - 1].accepted
        for number, version in enumerate(versions[first:], start=first):
            started_s = time.monotonic()
            outcome = version.judged(accepted, versions[0].accepted)
            spent[number].append(time.monotonic() - started_s)
            assert outcome.drift is not None
            baselines[number][outcome.latency.verdict] += 1
            anchors[number][outcome.drift.verdict] += 1
            if outcome.latency.verdict != "REGRESSION":
                accepted = version.accepted
    print("merge  work   next to the baseline      next to the anchor        median s")
    for number in range(first, len(versions)):
        work = round(UNITS * 1.01**number) / UNITS
        print(
            f"{number:5}  {work:.3f}  {_words(baselines[number]):24}  "
            f"{_words(anchors[number]):24}  {median(spent[number]):.1f}",
            flush=True,
        )


def _words(verdicts: Counter[str]) -> str:
    return ", ".join(f"{verdict} {count}" for verdict, count in sorted(verdicts.items()))


def _print_costs(versions: list[Version]) -> None:
    """Print what a decision and an epoch take, with an anchor or not."""
    rng, old, anchor = random.Random(0), versions[4].accepted, versions[0].accepted
    case = versions[5].case
    # So many items that no decision falls before the least number of epochs.
    many = replace(case, run_context=replace(case.run_context, gated_items=MANY))
    fixed = replace(versions[5], case=many)
    decision_s: dict[bool, list[float]] = {False: [], True: []}
    epoch_s: dict[bool, list[float]] = {False: [], True: []}
    for _ in range(COST_ROUNDS):
        for with_anchor in rng.sample((False, True), 2):
            for version, seconds in ((versions[5], decision_s), (fixed, epoch_s)):
                latency = version.judged(old, anchor if with_anchor else None).latency
                assert latency.spent_s is not None
                spent_s = latency.spent_s
                seconds[with_anchor].append(
                    spent_s / latency.epochs if version is fixed else spent_s
                )
    for what, seconds in (("a decision", decision_s), ("an epoch", epoch_s)):
        ratios = [a / b for a, b in zip(seconds[True], seconds[False], strict=True)]
        print(
            f"{what} takes {1e3 * median(seconds[False]):.1f} ms, with the anchor "
            f"{1e3 * median(seconds[True]):.1f} ms, ratio {median(ratios):.2f} ({min(ratios):.2f} "
            f"to {max(ratios):.2f}), {COST_ROUNDS} pairs"
        )


if __name__ == "__main__":
    main()
