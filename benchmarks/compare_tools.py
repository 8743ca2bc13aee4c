"""The same slowdown, decided by other tools and by the gate, each with its own commands.

Usage: python benchmarks/compare_tools.py [ROUNDS] [--slower PERCENT] [--busy]

A chain of 100 equal kernels (gate_models.py), and two changes: `same`, with other kernel names but
equal work, and `slower`, with 105 kernels. All are built once and exported. In each round, in
random order, each tool decides on both changes, with a limit of 3 % and otherwise its defaults. A
decision is the command that a job in CI would run, with its exit code; its seconds include the
start of Python and TVM. pytest-benchmark decides twice: with a baseline that it measured in the
same round, and with that of the first round. pytest-codspeed decides nothing without its service,
so its own statistic, the fastest round, is compared here. Otava finds change points in the medians
that pytest-benchmark stored. --busy: with a program that keeps every core busy.

It installs nothing. It needs an environment with this package and, for each tool:

    pip install pytest-benchmark pytest-codspeed asv virtualenv
    pipx install apache-otava       (it pins numpy, so it needs a separate environment)

A tool that is missing is left out. asv installs its runner into an environment that it makes, so it
needs a package index.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import random
import re
import shutil
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from statistics import median

from gate_models import UNITS
from tool_suite import CHANGES, OLD, Bench, Timed, prepare, succeed
from tuning_speed import keep_busy

LIMIT = 0.03
STATISTICS = ("min", "median", "mean")
OTAVA_CONFIG = """
tests:
  chain:
    type: csv
    file: series.csv
    time_column: time
    metrics:
      median_s:
        direction: -1
"""
FIRST_DAY = datetime(2026, 1, 1, tzinfo=timezone.utc)


@dataclass(frozen=True, kw_only=True)
class Decision:
    """A tool's answer: whether it calls the change slower, None if it can't decide."""

    slower: bool | None
    spent_s: float


# A tool: takes its decisions on a change, and returns them by the names of its rules.
Take = Callable[[Bench, str], dict[str, Decision]]


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("rounds", nargs="?", type=int, default=10)
    parser.add_argument("--slower", type=int, default=5, help="percent of additional work")
    parser.add_argument("--busy", action="store_true")
    options = parser.parse_args()
    cores = len(os.sched_getaffinity(0))
    print(
        f"{datetime.now(timezone.utc):%Y-%m-%d}, {cores} cores, load {_load()} at the start",
        flush=True,
    )
    tools = _found_tools()
    taken: dict[tuple[str, str], list[Decision]] = defaultdict(list)
    rng = random.Random(0)
    with keep_busy(cores if options.busy else 0), tempfile.TemporaryDirectory() as folder:
        bench = Bench(folder=Path(folder), slower_units=UNITS + options.slower * UNITS // 100)
        prepare(bench)
        for number in range(1, options.rounds + 1):
            order = [(take, change) for take in tools for change in CHANGES]
            rng.shuffle(order)
            for take, change in order:
                for name, decision in take(bench, change).items():
                    taken[name, change].append(decision)
            print(f"  round {number}: load {_load()}", flush=True)
        print("\n".join(_lines(taken)))
        print("\n".join(_otava_lines(bench)))


def _load() -> str:
    return f"{os.getloadavg()[0]:.1f}"


def _found_tools() -> list[Take]:
    """Return the tools that are installed, and print their versions."""
    packages: dict[str, Take] = {
        "pytest-tvmtune": _gate,
        "pytest-benchmark": _pytest_benchmark,
        "pytest-codspeed": _codspeed,
        "asv": _asv,
    }
    found = []
    for package, take in packages.items():
        try:
            print(f"{package} {version(package)}")
            found.append(take)
        except PackageNotFoundError:
            print(f"{package} is not installed: pip install {package}")
    return found


def _gate(bench: Bench, change: str) -> dict[str, Decision]:
    report = bench.folder / "report.json"
    options = ("--tvm-trials=0", "--tvm-num-threads=1", f"--tvm-json={report}")
    done, spent_s = bench.pytest("test_gate.py", "-k", "gated", *options, VARIANT=change)
    (case,) = json.loads(report.read_text())["cases"]
    verdict = case["latency"]["verdict"]
    if (verdict == "REGRESSION") != (done.returncode == 1):
        succeed(done)
    slower = None if verdict == "INCONCLUSIVE" else verdict == "REGRESSION"
    return {"pytest-tvmtune": Decision(slower=slower, spent_s=spent_s)}


def _pytest_benchmark(bench: Bench, change: str) -> dict[str, Decision]:
    """Decide against a baseline that is measured now, and against that of the first round."""
    limits = [f"{name}:{LIMIT:.0%}" for name in STATISTICS]
    number = len(bench.medians[OLD]) + 1
    succeed(_benchmarked(bench, OLD, "--benchmark-save=old")[0])
    baselines = {"measured now": number} | ({"stored": 1} if number > 1 else {})
    decisions = {}
    for which, baseline in baselines.items():
        compare = (f"--benchmark-compare={baseline:04d}", "--benchmark-compare-fail", *limits)
        done, spent_s = _benchmarked(bench, change, *compare)
        failed = set(re.findall(r"Field '(\w+)' has failed", done.stdout + done.stderr))
        if done.returncode != int(bool(failed)):
            succeed(done)
        for name in STATISTICS:
            decisions[f"pytest-benchmark, {name}:3%, {which}"] = Decision(
                slower=name in failed, spent_s=spent_s
            )
    return decisions


def _benchmarked(bench: Bench, variant: str, *options: str) -> Timed:
    """Run the benchmark, and keep its median for Otava."""
    path = bench.folder / "benchmark.json"
    path.unlink(missing_ok=True)
    only = ("-p", "no:tvmtune", "-p", "no:codspeed", f"--benchmark-json={path}")
    done = bench.pytest("test_call.py", *only, *options, VARIANT_FOLDER=bench.exported(variant))
    (timed,) = json.loads(path.read_text())["benchmarks"]
    bench.medians[variant].append(timed["stats"]["median"])
    return done


def _codspeed(bench: Bench, change: str) -> dict[str, Decision]:
    """Compare its fastest rounds, as it compares nothing itself."""
    best = {}
    started = time.monotonic()
    for variant in (OLD, change):
        folder = bench.folder / ".codspeed"
        shutil.rmtree(folder, ignore_errors=True)
        options = ("-p", "no:tvmtune", "--codspeed", "--codspeed-mode=walltime")
        done, _ = bench.pytest("test_call.py", *options, VARIANT_FOLDER=bench.exported(variant))
        succeed(done)
        (path,) = folder.glob("results_*.json")
        (timed,) = json.loads(path.read_text())["benchmarks"]
        best[variant] = timed["stats"]["min_ns"]
    slower = best[change] > (1 + LIMIT) * best[OLD]
    spent_s = time.monotonic() - started
    return {"pytest-codspeed's fastest round, 3%": Decision(slower=slower, spent_s=spent_s)}


def _asv(bench: Bench, change: str) -> dict[str, Decision]:
    """Decide with and without interleaved rounds. It exits with 1 if a benchmark got slower."""
    if not (bench.folder / ".asv-machine.json").exists():
        succeed(_run_asv(bench, "machine", "--yes")[0])
    decisions = {}
    for name, options in {"asv": (), "asv, interleaved": ("--interleave-rounds",)}.items():
        commits = (OLD, change)
        done, spent_s = _run_asv(bench, "continuous", f"--factor={1 + LIMIT}", *options, *commits)
        found = re.search("PERFORMANCE (DE|IN)CREASED|NOT SIGNIFICANTLY CHANGED", done.stdout)
        if not found or (found[1] == "DE") != (done.returncode == 1):
            raise SystemExit(done.stdout + done.stderr)
        decisions[f"{name}, factor 1.03"] = Decision(slower=found[1] == "DE", spent_s=spent_s)
    return decisions


def _run_asv(bench: Bench, command: str, *arguments: str) -> Timed:
    """Run asv with a separate home, where it keeps a file about the machine."""
    return bench.run(
        *(sys.executable, "-m", "asv", command),
        *(f"--config={bench.folder / 'asv' / 'asv.conf.json'}", *arguments),
        HOME=str(bench.folder),
        XDG_CONFIG_HOME=os.environ.get("XDG_CONFIG_HOME", str(Path.home() / ".config")),
    )


def _lines(taken: dict[tuple[str, str], list[Decision]]) -> list[str]:
    lines = [
        f"{'tool and rule':44} {'change':7} {'n':>3} {'slower':>6} {'undecided':>9} {'seconds':>7}"
    ]
    for (name, change), decisions in sorted(taken.items()):
        found = [decision.slower for decision in decisions]
        seconds = median(decision.spent_s for decision in decisions)
        lines.append(
            f"{name:44} {change:7} {len(found):3} {found.count(True):6} {found.count(None):9} "
            f"{seconds:7.1f}"
        )
    return lines


def _otava_lines(bench: Bench) -> list[str]:
    """Return the change points in the stored medians: those of the old chain, then a change's."""
    otava = shutil.which("otava")
    if otava is None or not bench.medians[OLD]:
        return ["otava isn't on PATH, or has nothing to read: pipx install apache-otava"]
    lines = []
    for change in CHANGES:
        series = [*bench.medians[OLD], *bench.medians[change]]
        with (bench.folder / "series.csv").open("w") as file:
            rows = csv.writer(file)
            rows.writerow(["time", "median_s"])
            rows.writerows((FIRST_DAY + timedelta(days=n), s) for n, s in enumerate(series))
        (bench.folder / "otava.yaml").write_text(OTAVA_CONFIG)
        done, _ = bench.run(otava, "analyze", "chain", "--output=json", OTAVA_CONFIG="otava.yaml")
        succeed(done)
        (points,) = json.loads(done.stdout).values()
        found = [(_day(point["time"]), point["changes"]) for point in points]
        lines.append(
            f"otava: {len(bench.medians[OLD])} runs of {OLD}, then {len(bench.medians[change])} of "
            f"{change}: {found or 'no change point'}"
        )
    return lines


def _day(seconds: float) -> int:
    return (datetime.fromtimestamp(seconds, timezone.utc) - FIRST_DAY).days


if __name__ == "__main__":
    main()
