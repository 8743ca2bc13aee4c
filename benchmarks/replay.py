"""Schedules of one version of TVM replayed by another, against tuning anew: speed and coverage.

Usage: python benchmarks/replay.py OLD_PYTHON [-k EXPRESSION] [FILE ...]

OLD_PYTHON: an environment with another TVM, such as .versions/0.26.0/bin/python. FILE: suites, by
default example_suite/test_mlp.py and test_cnn.py. The old environment tunes them. Then this one
tunes them anew, in another store, and accepts the result. At last, it replays the old records
without tuning, and gates the result against the accepted one: interleaved, in one process. Prints a
row for each case, and the seconds of the tuning and of the replay.
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
from typing import Any

HERE = Path(__file__).parents[1]
# What holds the accepted artifacts.
ACCEPTED = ("baselines", "artifacts")


def run(python: str, suites: list[str], *options: str) -> tuple[dict[str, Any], float]:
    """Return the JSON report of a run of pytest, and its seconds."""
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.json"
        command = [python, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-W", "default", *suites]
        started = time.perf_counter()
        done = subprocess.run(
            [*command, f"--tvm-json={report}", *options],
            cwd=HERE, capture_output=True, text=True, check=False,
        )  # fmt: skip
        seconds = time.perf_counter() - started
        if not report.exists():
            raise SystemExit(done.stdout + done.stderr)
        return json.loads(report.read_text()), seconds


def label(case: dict[str, Any]) -> str:
    return f"{case['name']}[{case['target_name']}{'-prepack' if case['prepack'] else ''}]"


def tuned(case: dict[str, Any]) -> int:
    return sum(task["state"] == "tuned" for task in case["tasks"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("old_python")
    parser.add_argument("suites", nargs="*")
    parser.add_argument("-k", dest="select", default="")
    given = parser.parse_args()
    suites = given.suites or [f"example_suite/test_{name}.py" for name in ("mlp", "cnn")]
    if given.select:
        suites += ["-k", given.select]
    with tempfile.TemporaryDirectory() as folder:
        old, anew, replayed = (Path(folder) / name for name in ("old", "anew", "replayed"))
        before, old_s = run(given.old_python, suites, f"--tvm-dir={old}", "--tvm-update-new")
        fresh, anew_s = run(sys.executable, suites, f"--tvm-dir={anew}", "--tvm-update-new")
        for name in ACCEPTED:
            shutil.copytree(anew / name, replayed / name)
        (replayed / "CACHEDIR.TAG").write_bytes((anew / "CACHEDIR.TAG").read_bytes())
        options = [f"--tvm-dir={replayed}", f"--tvm-store-fallback={old}", "--tvm-tuning=never"]
        # The baselines keep the records that they were accepted with: those aren't to be restored.
        for path in (replayed / "baselines").glob("*.records.jsonl.gz"):
            path.unlink()
        now, replay_s = run(sys.executable, suites, *options, "-v")
    rows = {label(case): case for case in now["cases"]}
    tuned_before = {label(case): tuned(case) for case in before["cases"]}
    print("| case | tasks | tuned, old TVM | replayed | tuned anew | replayed / anew | verdict |")
    print("|---|---|---|---|---|---|---|")
    ratios = []
    for case in fresh["cases"]:
        name, row = label(case), rows[label(case)]
        latency = row["latency"] or {}
        ratio = latency.get("slowdown_ratio")
        if ratio:
            ratios.append(ratio)
        count = sum(bool(task["replayed_from"]) for task in row["tasks"])
        print(
            f"| {name} | {len(row['tasks'])} | {tuned_before.get(name, '-')} | {count} | "
            f"{tuned(case)} | {f'{ratio:.3f}' if ratio else '-'} | {latency.get('verdict', '-')} |"
        )
    mean = math.exp(sum(map(math.log, ratios)) / len(ratios)) if ratios else math.nan
    print(f"geometric mean of the ratios: {mean:.3f}, of {len(ratios)} cases")
    print(
        f"pytest with the old TVM {old_s:.0f} s, tuning anew {anew_s:.0f} s, replaying "
        f"{replay_s:.0f} s; load average {os.getloadavg()[0]:.1f}"
    )


if __name__ == "__main__":
    main()
