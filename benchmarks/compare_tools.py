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
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from statistics import median

import numpy as np
from gate_models import UNITS, make_chain
from tuning_speed import keep_busy

HERE = Path(__file__).parent
MODEL = "compute 1 ms"
OLD, SAME, SLOWER = "old", "same", "slower"
CHANGES = (SAME, SLOWER)
LIMIT = 0.03
STATISTICS = ("min", "median", "mean")

TEST_GATE = """
import os
import pytest
from gate_models import make_chain

UNITS = {"old": 100, "same": 100, "slower": int(os.environ["SLOWER_UNITS"])}

def open_chain(tvm_tune, variant):
    naming = "kernel" if variant == "old" else "renamed"
    mod, weights, x = make_chain("compute 1 ms", units=UNITS[variant], naming=naming)
    return tvm_tune(mod, params=weights, inputs=[x])

@pytest.mark.parametrize("variant", UNITS)
def test_exported(tvm_tune, variant):
    open_chain(tvm_tune, variant).assert_no_regression()

def test_gated(tvm_tune):
    open_chain(tvm_tune, os.environ["VARIANT"]).assert_no_regression()
"""
# What the other tools time: the exported folder, as a deployment runs it.
CHAIN = """
import sys
from pathlib import Path
import numpy as np

def open_call(folder):
    sys.path.insert(0, folder)
    from load import load
    arrays = np.load(Path(__file__).with_name("arrays.npz"))
    run, x = load(folder, [arrays["weights"]]), arrays["x"]
    return lambda: run(x)
"""
TEST_CALL = """
import os
from chain import open_call

def test_call(benchmark):
    benchmark(open_call(os.environ["VARIANT_FOLDER"]))
"""
ASV_BENCHMARK = """
from chain import open_call
from project import FOLDER

class Chain:
    def setup(self):
        self.call = open_call(FOLDER)

    def time_call(self):
        self.call()
"""
ASV_PROJECT = """
[project]
name = "project"
version = "1"
[tool.setuptools]
py-modules = ["project"]
"""
# In the environment that asv makes: TVM, from the environment that the other tools run in.
SHARE_PACKAGES = """
import sysconfig
from pathlib import Path
Path(sysconfig.get_path("purelib"), "shared.pth").write_text({paths!r})
"""
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
FIRST_DAY = datetime(2026, 1, 1, tzinfo=UTC)


# A command that ended, and the seconds that it took.
Timed = tuple[subprocess.CompletedProcess[str], float]


@dataclass(frozen=True, kw_only=True)
class Decision:
    """A tool's answer: whether it calls the change slower, None if it can't decide."""

    slower: bool | None
    spent_s: float


@dataclass(frozen=True, kw_only=True)
class Bench:
    """The folder of a comparison, and what its tools have stored so far."""

    folder: Path
    slower_units: int
    medians: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))

    def run(self, *command: str, **environment: str) -> Timed:
        """Run a command in the folder, and return it with the seconds that it took."""
        paths = [str(self.folder), str(HERE), str(HERE.parent)]
        env = {
            **os.environ,
            "TVM_NUM_THREADS": "1",
            "SLOWER_UNITS": str(self.slower_units),
            "PYTHONPATH": os.pathsep.join(paths),
            "PYTHONDONTWRITEBYTECODE": "1",
            **environment,
        }
        started = time.monotonic()
        done = subprocess.run(
            command, cwd=self.folder, env=env, capture_output=True, text=True, check=False
        )
        return done, time.monotonic() - started

    def pytest(self, *arguments: str, **environment: str) -> Timed:
        """Run pytest in the folder."""
        return self.run(sys.executable, "-m", "pytest", "-q", *arguments, **environment)

    def exported(self, variant: str) -> str:
        """Return the folder of an exported chain."""
        return str(self.folder / variant)


# A tool: takes its decisions on a change, and returns them by the names of its rules.
Take = Callable[[Bench, str], dict[str, Decision]]


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("rounds", nargs="?", type=int, default=10)
    parser.add_argument("--slower", type=int, default=5, help="percent of additional work")
    parser.add_argument("--busy", action="store_true")
    options = parser.parse_args()
    cores = len(os.sched_getaffinity(0))
    print(f"{datetime.now(UTC):%Y-%m-%d}, {cores} cores, load {_load()} at the start", flush=True)
    tools = _found_tools()
    taken: dict[tuple[str, str], list[Decision]] = defaultdict(list)
    rng = random.Random(0)
    with keep_busy(cores if options.busy else 0), tempfile.TemporaryDirectory() as folder:
        bench = Bench(folder=Path(folder), slower_units=UNITS + options.slower * UNITS // 100)
        _prepare(bench)
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


def _prepare(bench: Bench) -> None:
    """Accept the old chain, export all three, and make the repository of asv."""
    files = {
        "test_gate.py": TEST_GATE,
        "test_call.py": TEST_CALL,
        "chain.py": CHAIN,
        "pytest.ini": "[pytest]\n",
    }
    for name, text in files.items():
        (bench.folder / name).write_text(text)
    _, (weights,), x = make_chain(MODEL, units=UNITS, naming=OLD)
    np.savez(bench.folder / "arrays.npz", weights=weights, x=x)
    accept = ("test_gate.py", "--tvm-trials=0", "--tvm-num-threads=1", "--tvm-update-new")
    _succeed(bench.pytest(*accept, VARIANT=OLD)[0])
    for variant in (OLD, *CHANGES):
        command = (str(Path(sys.executable).with_name("tvmtune")), "export")
        _succeed(bench.run(*command, f"test_exported[{variant}", bench.exported(variant))[0])
    _make_repository(bench)


def _make_repository(bench: Bench) -> None:
    """Commit a project that opens the old chain, and on two branches, its changes."""
    repository = bench.folder / "repository"
    repository.mkdir()
    (repository / "pyproject.toml").write_text(ASV_PROJECT)

    def git(*arguments: str) -> None:
        who = ("-c", "user.name=asv", "-c", "user.email=asv@localhost")
        _succeed(bench.run("git", "-C", str(repository), *who, *arguments)[0])

    git("init", "--quiet", "--initial-branch=old")
    for variant in (OLD, *CHANGES):
        if variant != OLD:
            git("checkout", "--quiet", "-b", variant, OLD)
        (repository / "project.py").write_text(f"FOLDER = {bench.exported(variant)!r}\n")
        git("add", ".")
        git("commit", "--quiet", "--message", variant)
    folder = bench.folder / "asv"
    (folder / "benchmarks").mkdir(parents=True)
    (folder / "benchmarks" / "__init__.py").touch()
    (folder / "benchmarks" / "chain_benchmark.py").write_text(ASV_BENCHMARK)
    shared = "\n".join([sysconfig.get_path("purelib"), str(bench.folder)])
    (folder / "share_packages.py").write_text(SHARE_PACKAGES.format(paths=shared))
    config = {
        "version": 1,
        "repo": str(repository),
        "branches": [OLD],
        "environment_type": "virtualenv",
        "pythons": ["{}.{}".format(*sys.version_info)],
        "build_command": [],
        "install_command": [
            "in-dir={env_dir} python -m pip install --no-deps {build_dir}",
            "in-dir={env_dir} python {conf_dir}/share_packages.py",
        ],
    }
    (folder / "asv.conf.json").write_text(json.dumps(config))


def _succeed(done: subprocess.CompletedProcess[str]) -> None:
    if done.returncode != 0:
        raise SystemExit(f"{' '.join(done.args)}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}")


def _gate(bench: Bench, change: str) -> dict[str, Decision]:
    report = bench.folder / "report.json"
    options = ("--tvm-trials=0", "--tvm-num-threads=1", f"--tvm-json={report}")
    done, spent_s = bench.pytest("test_gate.py", "-k", "gated", *options, VARIANT=change)
    (case,) = json.loads(report.read_text())["cases"]
    verdict = case["latency"]["verdict"]
    if (verdict == "REGRESSION") != (done.returncode == 1):
        _succeed(done)
    slower = None if verdict == "INCONCLUSIVE" else verdict == "REGRESSION"
    return {"pytest-tvmtune": Decision(slower=slower, spent_s=spent_s)}


def _pytest_benchmark(bench: Bench, change: str) -> dict[str, Decision]:
    """Decide against a baseline that is measured now, and against that of the first round."""
    limits = [f"{name}:{LIMIT:.0%}" for name in STATISTICS]
    number = len(bench.medians[OLD]) + 1
    _succeed(_benchmarked(bench, OLD, "--benchmark-save=old")[0])
    baselines = {"measured now": number} | ({"stored": 1} if number > 1 else {})
    decisions = {}
    for which, baseline in baselines.items():
        compare = (f"--benchmark-compare={baseline:04d}", "--benchmark-compare-fail", *limits)
        done, spent_s = _benchmarked(bench, change, *compare)
        failed = set(re.findall(r"Field '(\w+)' has failed", done.stdout + done.stderr))
        if done.returncode != int(bool(failed)):
            _succeed(done)
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
        _succeed(done)
        (path,) = folder.glob("results_*.json")
        (timed,) = json.loads(path.read_text())["benchmarks"]
        best[variant] = timed["stats"]["min_ns"]
    slower = best[change] > (1 + LIMIT) * best[OLD]
    spent_s = time.monotonic() - started
    return {"pytest-codspeed's fastest round, 3%": Decision(slower=slower, spent_s=spent_s)}


def _asv(bench: Bench, change: str) -> dict[str, Decision]:
    """Decide with and without interleaved rounds. It exits with 1 if a benchmark got slower."""
    if not (bench.folder / ".asv-machine.json").exists():
        _succeed(_run_asv(bench, "machine", "--yes")[0])
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
    """Run asv with a home of its own, where it keeps a file about the machine."""
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
        _succeed(done)
        (points,) = json.loads(done.stdout).values()
        found = [(_day(point["time"]), point["changes"]) for point in points]
        lines.append(
            f"otava: {len(bench.medians[OLD])} runs of {OLD}, then {len(bench.medians[change])} of "
            f"{change}: {found or 'no change point'}"
        )
    return lines


def _day(seconds: float) -> int:
    return (datetime.fromtimestamp(seconds, UTC) - FIRST_DAY).days


if __name__ == "__main__":
    main()
