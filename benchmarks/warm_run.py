"""What a warm run costs without TVM and the models: the example suite, once tuned, run again.

Usage: python benchmarks/warm_run.py [RUNS] [PYTEST OPTIONS]

Needs the store of `make example-all`; with other examples, such as `-k mlp`, the store of those.
Runs pytest on the example suite with a plugin that keeps a stack of what runs: each moment counts
for the innermost timed function, and for nothing where none runs. Prints, for each case, the median
over RUNS runs of what is left to this package (the store, hashing, comparing, reporting), and of
the rest: importing the model, loading the library and transforming parameters, executing, and
computing the expected outputs.
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
OURS = "ours"
# Module -> what its functions do.
TIMED = {
    "pytest_tvmtune.relax.importing": {"open_model": "importing"},
    "pytest_tvmtune.relax.measuring.session": {"open_session": "loading", "call": "executing"},
    "pytest_tvmtune.relax.measuring.timing": {"sample": "executing"},
    "pytest_tvmtune.stages.comparing.comparing_outputs": {"_call": "reference"},
}
SPY = """
import functools, importlib, json, os, sys, threading, time
import pytest
from collections import defaultdict

spent = defaultdict(float)
running = []
rows = []
since = 0.0

def switch():
    # What ran until now is what is on top of the stack.
    global since
    now = time.perf_counter()
    if running:
        spent[running[-1]] += now - since
    since = now

def timed(function, what):
    @functools.wraps(function)
    def wrapper(*args, **kwargs):
        if threading.current_thread() is not threading.main_thread():
            return function(*args, **kwargs)
        switch()
        running.append(what)
        try:
            return function(*args, **kwargs)
        finally:
            switch()
            running.pop()
    return wrapper

def replace_everywhere(original, wrapper):
    for name, module in list(sys.modules.items()):
        if name.startswith("pytest_tvmtune"):
            for attribute, value in list(vars(module).items()):
                if value is original:
                    setattr(module, attribute, wrapper)

@pytest.hookimpl(trylast=True)
def pytest_collection_finish(session):
    for module, functions in json.loads(os.environ["WARM_TIMED"]).items():
        for name, what in functions.items():
            original = getattr(importlib.import_module(module), name)
            replace_everywhere(original, timed(original, what))
    from pytest_tvmtune.plugin.run import Run
    from pytest_tvmtune.plugin.tune_fixture import TvmTune
    TvmTune.__call__ = timed(TvmTune.__call__, "ours")
    for name, method in list(vars(Run).items()):
        if callable(method) and not name.startswith("_"):
            setattr(Run, name, timed(method, "ours"))
    from pytest_tvmtune.stages import pipeline
    for name in ("conclude", "accept"):
        setattr(pipeline, name, timed(getattr(pipeline, name), "ours"))

@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item):
    spent.clear()
    result = yield
    if "ours" in spent:
        rows.append([item.name, dict(spent)])
    return result

def pytest_unconfigure(config):
    with open(os.environ["WARM_ROWS"], "w") as file:
        json.dump(rows, file)
"""


def main() -> None:
    runs = int(sys.argv[1]) if len(sys.argv) > 1 else 5
    spent: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "warm_spy.py").write_text(SPY)
        for _ in range(runs):
            for name, parts in _once(Path(folder), sys.argv[2:]):
                for what, spent_s in parts.items():
                    spent[name][what].append(spent_s)
    print(f"load average {os.getloadavg()[0]:.1f}, {runs} runs, medians in ms")
    for name, of_case in spent.items():
        ours = of_case.pop(OURS)
        parts = ", ".join(f"{what} {statistics.median(s) * 1e3:.0f}" for what, s in of_case.items())
        print(
            f"{name:40} {statistics.median(ours) * 1e3:6.1f} "
            f"({min(ours) * 1e3:.1f} to {max(ours) * 1e3:.1f})   not ours: {parts}"
        )


def _once(folder: Path, options: list[str]) -> list[tuple[str, dict[str, float]]]:
    rows = folder / "rows.json"
    command = [sys.executable, "-m", "pytest", str(SUITE), "-q", "-m", "not slow", "-p", "warm_spy"]
    environment = {
        **os.environ,
        "PYTHONPATH": str(folder),
        "WARM_TIMED": json.dumps(TIMED),
        "WARM_ROWS": str(rows),
    }
    done = subprocess.run(
        [*command, *options], env=environment, capture_output=True, text=True, check=False
    )
    if done.returncode or "tuned 0 cases" not in done.stdout or "compiled 0" not in done.stdout:
        raise SystemExit(f"not a warm run:\n{done.stdout[-3000:]}")
    return list(json.loads(rows.read_text()))


if __name__ == "__main__":
    main()
