"""What a warm run costs beside TVM: the example suite, once tuned, run again.

Usage: python benchmarks/warm_run.py [RUNS]      (after `make example`, with its store)

Runs pytest on the example suite with a plugin that times each case and what of it is TVM's own:
importing the model, loading the library and transforming parameters, executing. Prints, for each
case, the median of the rest over RUNS runs: the store, hashing, comparing, reporting.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections import defaultdict
from pathlib import Path

SUITE = Path(__file__).parents[1] / "example_suite"
# function -> (module that defines it, what it is)
TVMS_OWN = {
    "open_model": ("pytest_tvmtune.relax.importing", "importing the model"),
    "open_session": ("pytest_tvmtune.relax.measuring.session", "loading"),
    "call": ("pytest_tvmtune.relax.measuring.session", "executing"),
    "sample": ("pytest_tvmtune.relax.measuring.timing", "executing"),
}
SPY = """
import functools, importlib, json, os, time
import pytest
from collections import defaultdict

OWN = json.loads(os.environ["WARM_OWN"])
spent = defaultdict(float)
rows = []

def timed(function, what):
    @functools.wraps(function)
    def wrapper(*args, **kwargs):
        started = time.perf_counter()
        try:
            return function(*args, **kwargs)
        finally:
            spent[what] += time.perf_counter() - started
    return wrapper

def patch():
    for name, (module, what) in OWN.items():
        home = importlib.import_module(module)
        setattr(home, name, timed(getattr(home, name), what))

@pytest.hookimpl(trylast=True)
def pytest_collection_finish(session):
    patch()
    from pytest_tvmtune.plugin.run import Run
    from pytest_tvmtune.plugin.tune_fixture import TvmTune
    for cls, names in ((TvmTune, ["__call__"]),
                       (Run, ["assert_allclose", "assert_prepack_equivalent",
                              "assert_no_regression", "check", "conclude", "accept"])):
        for name in names:
            setattr(cls, name, timed(getattr(cls, name), "ours"))

@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item):
    spent.clear()
    result = yield
    if spent.get("ours"):
        own = {what: s for what, s in spent.items() if what != "ours"}
        rows.append([item.name, spent["ours"] - sum(own.values()), own])
    return result

def pytest_unconfigure(config):
    with open(os.environ["WARM_ROWS"], "w") as file:
        json.dump(rows, file)
"""


def main() -> None:
    runs = int(sys.argv[1]) if len(sys.argv) > 1 else 5
    rest: dict[str, list[float]] = defaultdict(list)
    own: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "warm_spy.py").write_text(SPY)
        for _ in range(runs):
            for name, rest_s, parts in _once(Path(folder)):
                rest[name].append(rest_s)
                for what, spent_s in parts.items():
                    own[name][what].append(spent_s)
    print(f"load average {os.getloadavg()[0]:.1f}, {runs} runs, medians in ms")
    for name, values in rest.items():
        parts = ", ".join(
            f"{what} {statistics.median(s) * 1e3:.0f}" for what, s in own[name].items()
        )
        print(
            f"{name:40} {statistics.median(values) * 1e3:6.1f} "
            f"({min(values) * 1e3:.1f} to {max(values) * 1e3:.1f})   TVM's own: {parts}"
        )


def _once(folder: Path) -> list[tuple[str, float, dict[str, float]]]:
    rows = folder / "rows.json"
    command = [sys.executable, "-m", "pytest", str(SUITE), "-q", "-m", "not slow", "-p", "warm_spy"]
    environment = {
        **os.environ,
        "PYTHONPATH": str(folder),
        "WARM_OWN": json.dumps(TVMS_OWN),
        "WARM_ROWS": str(rows),
    }
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode or "tuned 0 cases" not in done.stdout or "compiled 0" not in done.stdout:
        raise SystemExit(f"not a warm run:\n{done.stdout[-3000:]}")
    return list(json.loads(rows.read_text()))


if __name__ == "__main__":
    main()
