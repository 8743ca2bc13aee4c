"""How often `tvmtune vet` finds a slower runtime and slower code, and tells them apart.

Usage: python benchmarks/vet_power.py [--repeat N] [--only TEXT] [--folder FOLDER]

Each row compares two environments of benchmarks/vet_environments.py N times: what the suite
compiled in each of them is measured anew in each repetition, with new processes. "A/A" is the same
TVM in two environments. Then the runtime is slower, in two ways: a function that the model calls
sleeps, and the VM copies an argument of each kernel. And then the code is slower: the compiler
doesn't fuse operators. The error rate is that of a suite with three decisions.

Right: for A/A, nothing is slower. For the others, the part that was made slower, and no other.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from vet_environments import make_environment, write_suite

from pytest_tvmtune.core.gating.confidence_sequence import item_alpha
from pytest_tvmtune.core.vetting.vet_report import SlowerPart, VettedCase
from pytest_tvmtune.processes.other_environment import examine_environment
from pytest_tvmtune.stages.vetting.environment_tests import run_tests
from pytest_tvmtune.stages.vetting.paired_case import PairedCase
from pytest_tvmtune.stages.vetting.vet import pairs_of
from pytest_tvmtune.stages.vetting.vet_case import vet_case

DECISIONS = 3


@dataclass(frozen=True, kw_only=True)
class Row:
    """A comparison of two environments. right: the part that is slower."""

    what: str
    new: str
    right: SlowerPart


ROWS = (
    Row(what="A/A", new="same", right=""),
    Row(what="runtime: function that sleeps", new="function that sleeps", right="runtime"),
    Row(what="runtime: VM that copies", new="VM that copies", right="runtime"),
    Row(what="code without fusion", new="code without fusion", right="generated code"),
)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--repeat", type=int, default=20)
    parser.add_argument("--only", default="", help="only rows with this text")
    parser.add_argument("--folder", type=Path, help="keep environments and stores in this folder")
    options = parser.parse_args()
    cores = len(os.sched_getaffinity(0))
    print(f"{cores} cores, load average {os.getloadavg()[0]:.1f} at the start", flush=True)
    with tempfile.TemporaryDirectory() as temporary:
        folder = (options.folder or Path(temporary)).resolve()
        for row in ROWS:
            if options.only in row.what:
                _repeat(row, folder, options.repeat)


def _repeat(row: Row, folder: Path, times: int) -> None:
    pair = _pair(row, folder)
    alpha = item_alpha(DECISIONS)
    found: Counter[str] = Counter()
    began_s = time.monotonic()
    for number in range(times):
        with tempfile.TemporaryDirectory(dir=folder) as scratch:
            case = vet_case(pair, alpha=alpha, folder=Path(scratch))
        outcome = case.slower_part or "nothing is slower"
        found["right" if case.slower_part == row.right else "wrong"] += 1
        found[f"found: {outcome}"] += 1
        print(f"{row.what} {number + 1}: {outcome}; {_words(case)}", flush=True)
    spent_s = (time.monotonic() - began_s) / times
    counts = ", ".join(f"{name} {count}" for name, count in sorted(found.items()))
    print(f"== {row.what}: {times} times, {counts}; {spent_s:.0f} s each; "
          f"load average {os.getloadavg()[0]:.1f}", flush=True)  # fmt: skip


def _pair(row: Row, folder: Path) -> PairedCase:
    """Return the suite's case, as both environments compiled it."""
    suite = write_suite(folder)
    tested = []
    for name, environment in (("old", "plain"), ("new", row.new)):
        place = folder / row.new.replace(" ", "-") / f"store-{name}"
        one = examine_environment(name, make_environment(environment, folder), folder / "package")
        tested.append(run_tests(one, [str(suite), f"--rootdir={suite}"], place))
    (pair,), missing = pairs_of(tested[0], tested[1], "untuned")
    assert not missing, missing
    return pair


def _words(case: VettedCase) -> str:
    return ", ".join(
        f"{one.sides} {one.latency.slowdown_ratio:.3f} {one.latency.verdict} "
        f"({one.latency.epochs} epochs)"
        if one.latency
        else f"{one.sides} {one.problem}"
        for one in case.comparisons
        if not (one.sides == "runtime" and one.same_code)
    )


if __name__ == "__main__":
    main()
