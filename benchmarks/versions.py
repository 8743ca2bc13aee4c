"""The example suite with several versions of TVM, and the schedules of older ones replayed.

Usage: python benchmarks/versions.py [--folder FOLDER] [-k EXPRESSION] [-m MARKS] PYTHON ...

PYTHON: an environment with another TVM, such as .versions/0.26.0/bin/python. Each of them, and this
one, tunes the models of example_suite/ and accepts the results, in a store of its own. The first
table has a column for each version: the outcome, tuned tasks of all tasks, and the largest absolute
error against the first reference.

Then, for each older minor version, this TVM compiles the models anew without tuning: once with
nothing, and once with the old version's records, which it replays. What was replayed is gated
against what this TVM tuned for itself: interleaved, in one process. The second table has a row for
each case. The seconds are those of whole runs of pytest: the run with nothing shows what a run
takes without tuning and replaying.

With FOLDER, stores and reports are kept, and a run that has a report isn't made again.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, NamedTuple

from pytest_tvmtune.core.results.case_label import label_of
from pytest_tvmtune.core.versions import minor

HERE = Path(__file__).parents[1]
VERSION = "from importlib.metadata import version; print(version('apache-tvm'))"


class Run(NamedTuple):
    """A run of pytest: its JSON report, its seconds, and the load average at its start."""

    report: dict[str, Any]
    seconds: float
    load: float

    @property
    def cases(self) -> dict[str, dict[str, Any]]:
        """Its cases, by label."""
        return {label(case): case for case in self.report["cases"]}


class Runs(NamedTuple):
    """Runs in a folder. select: pytest's options that select models."""

    folder: Path
    select: tuple[str, ...]

    def store(self, name: str) -> Path:
        """Return the store of the run of this name."""
        return self.folder / f"store-{name}"

    def run(self, python: str, name: str, *options: str) -> Run:
        """Return the run of this name, made now unless the folder has it."""
        report, kept = self.folder / f"{name}.json", self.folder / f"{name}.seconds"
        if not kept.exists():
            load, started = os.getloadavg()[0], time.perf_counter()
            done = subprocess.run(
                [
                    python, "-m", "pytest", "example_suite", "-q", "-p", "no:cacheprovider",
                    "-W", "default", *self.select, f"--tvm-dir={self.store(name)}",
                    f"--tvm-json={report}", *options,
                ],
                cwd=HERE, capture_output=True, text=True, check=False,
            )  # fmt: skip
            seconds = time.perf_counter() - started
            (self.folder / f"{name}.log").write_text(done.stdout + done.stderr)
            if not report.exists():
                raise SystemExit(done.stdout + done.stderr)
            kept.write_text(f"{seconds} {load}")
        seconds, load = map(float, kept.read_text().split())
        return Run(json.loads(report.read_text()), seconds, load)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("pythons", nargs="+", metavar="PYTHON")
    parser.add_argument("--folder", type=Path)
    parser.add_argument("-k", dest="select", default="")
    parser.add_argument("-m", dest="marks", default="not slow")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = (given.folder or Path(temporary)).resolve()
        folder.mkdir(parents=True, exist_ok=True)
        runs = Runs(folder, ("-m", given.marks, *(["-k", given.select] if given.select else [])))
        versions = {version_of(python): python for python in (*given.pythons, sys.executable)}
        tuned = {
            version: runs.run(python, version, "--tvm-update-new")
            for version, python in versions.items()
        }
        print(versions_table(tuned), flush=True)
        here = version_of(sys.executable)
        for version in versions:
            if minor(version) != minor(here):
                print(replayed_table(runs, version, here, tuned), flush=True)


def versions_table(tuned: dict[str, Run]) -> str:
    """Return the outcome of each case with each version."""
    labels = list(dict.fromkeys(label for run in tuned.values() for label in run.cases))
    lines = [f"| case | {' | '.join(tuned)} |", f"|---|{'---|' * len(tuned)}"]
    for name in labels:
        cells = [cell(run.cases.get(name)) for run in tuned.values()]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    seconds = (f"{run.seconds:.0f} s (load {run.load:.1f})" for run in tuned.values())
    return "\n".join([*lines, f"| pytest | {' | '.join(seconds)} |", ""])


def cell(case: dict[str, Any] | None) -> str:
    if case is None:
        return "-"
    error = case["errors"][0]["max_abs_error"] if case["errors"] else None
    shown = "-" if error is None else f"{error:.1e}"
    return f"{case['outcome']}, {tuned_tasks(case)}/{len(case['tasks'])}, {shown}"


def replayed_table(runs: Runs, old: str, here: str, tuned: dict[str, Run]) -> str:
    """Return what replaying one version's records with this TVM gives, next to tuning anew."""
    name = f"{here}-from-{old}"
    never = ("--tvm-tuning=never", "--tvm-update-new")
    untuned = runs.run(sys.executable, f"{here}-untuned", *never)
    fallback = f"--tvm-store-fallback={runs.store(old)}"
    replayed = runs.run(sys.executable, name, *never, fallback)
    if not (runs.folder / f"{name}-gated.seconds").exists():
        # Now the baseline is what this TVM tuned for itself, without its records: those would be
        # restored.
        shutil.copytree(runs.store(name), runs.store(f"{name}-gated"), dirs_exist_ok=True)
        for below in ("baselines", "artifacts"):
            source, place = (runs.store(one) / below for one in (here, f"{name}-gated"))
            shutil.copytree(source, place, dirs_exist_ok=True)
        for path in (runs.store(f"{name}-gated") / "baselines").glob("*.records.jsonl.gz"):
            path.unlink()
    gated = runs.run(sys.executable, f"{name}-gated", "--tvm-tuning=never", fallback)
    lines = [
        f"### {old} -> {here}",
        "| case | tasks | tuned there | replayed here | tuned anew | replayed / anew | verdict |",
        "|---|---|---|---|---|---|---|",
    ]
    ratios, had, got, exist = [], 0, 0, 0
    for label, anew in tuned[here].cases.items():
        case, latency = replayed.cases[label], gated.cases[label]["latency"] or {}
        before = {task["name"] for task in tuned[old].cases[label]["tasks"] if is_tuned(task)}
        replayed_here = [task["name"] for task in case["tasks"] if task["replayed_from"]]
        count = len(before.intersection(replayed_here))
        had, got = had + len(before), got + count
        exist += len(before.intersection(task["name"] for task in case["tasks"]))
        if ratio := latency.get("slowdown_ratio"):
            ratios.append(ratio)
        shown = f"{ratio:.3f}" if ratio else "-"
        lines.append(
            f"| {label} | {len(anew['tasks'])} | {len(before)} | {count} | {tuned_tasks(anew)} | "
            f"{shown} | {latency.get('verdict', '-')} |"
        )
    mean = math.exp(sum(map(math.log, ratios)) / len(ratios)) if ratios else math.nan
    spent = {"untuned": untuned, "replayed": replayed, "tuned anew": tuned[here]}
    shown = ", ".join(f"{what} {run.seconds:.0f} s" for what, run in spent.items())
    replay_s, anew_s = (one.seconds - untuned.seconds for one in (replayed, tuned[here]))
    summary = (
        f"replayed: {got} of {had} tasks there, of which {exist} exist here; "
        f"geometric mean of {len(ratios)} ratios: {mean:.3f}; "
        f"pytest: {shown}; without what all have in common: {replay_s / anew_s:.2f}"
    )
    return "\n".join([*lines, "", summary, ""])


def version_of(python: str) -> str:
    return subprocess.run(
        [python, "-c", VERSION], capture_output=True, text=True, check=True
    ).stdout.strip()


def label(case: dict[str, Any]) -> str:
    return label_of(case["name"], case["target_name"], prepack=case["prepack"])


def tuned_tasks(case: dict[str, Any]) -> int:
    return sum(map(is_tuned, case["tasks"]))


def is_tuned(task: dict[str, Any]) -> bool:
    return bool(task["state"] == "tuned")


if __name__ == "__main__":
    main()
