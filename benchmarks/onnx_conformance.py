"""Runs the plugin over the test data that the onnx package ships, and counts what comes of it.

Usage: python benchmarks/onnx_conformance.py [--suite NAME ...] [-k TEXT] [--trials N ...]
                                             [--jobs N] [--dir FOLDER] [--table]

Each model is a folder with `model.onnx` and its `test_data_set_*`, which pytest collects without
any code, as a user's would be; plain and prepacked; by default untuned, then with 4 trials. Several
models share a pytest process, and each kind of result is read off its JSON report. What is done is
kept in FOLDER (default `.conformance`): started again, it goes on where it was stopped, with Ctrl-C
or otherwise. --table only prints what FOLDER holds. Suites: simple, pytorch-operator,
pytorch-converted, light; `node` if it is asked for (some 2000 models of one operator each).

Prints tables in Markdown: the counts, the operators that TVM's importer has no converter for, and
each model that did not pass. Exit code 1 where a pytest process crashed.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from onnx_suites import SUITES, lay_out
from onnx_tables import tables

ROOT = Path(__file__).parents[1]
BY_DEFAULT = [name for name in SUITES if name != "node"]
# Models a pytest process takes on: its start costs some seconds, its end is when they are noted.
BATCH = 12
# Large ones: each has a process of its own, so that memory is given back.
ALONE = ("light",)


@dataclass(kw_only=True)
class Runs:
    """What is done, in a file of one line a model and number of trials; the processes under way."""

    folder: Path
    lock: threading.Lock = field(default_factory=threading.Lock)
    processes: set[subprocess.Popen[bytes]] = field(default_factory=set)
    stopped: bool = False

    def rows(self) -> list[dict[str, Any]]:
        """Return what is known: model, trials, cases (of the JSON report), crash."""
        path = self.folder / "results.jsonl"
        return [json.loads(line) for line in path.open()] if path.exists() else []

    def add(self, model: str, trials: int, cases: list[dict[str, Any]], crash: str = "") -> None:
        """Note a model as done."""
        row = {"model": model, "trials": trials, "cases": cases, "crash": crash}
        # At once, so that another run of this script may write there, too.
        with self.lock, (self.folder / "results.jsonl").open("ab", buffering=0) as file:
            file.write(json.dumps(row).encode() + b"\n")


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--suite", action="append", choices=SUITES, help="repeatable")
    parser.add_argument("-k", default="", help="only models whose name holds this")
    parser.add_argument("--trials", action="append", type=int, help="repeatable; default: 0 and 4")
    parser.add_argument("--jobs", type=int, default=1, help="pytest processes at the same time")
    parser.add_argument("--dir", type=Path, default=Path(".conformance"))
    parser.add_argument("--table", action="store_true")
    options = parser.parse_args()
    for number in (signal.SIGINT, signal.SIGTERM):
        # Also where a shell started it in the background, with SIGINT ignored.
        signal.signal(number, signal.default_int_handler)
    folder = options.dir.resolve()
    (folder / "models").mkdir(parents=True, exist_ok=True)
    (folder / "pytest.ini").write_text("[pytest]\n")
    runs = Runs(folder=folder)
    suites = options.suite or BY_DEFAULT
    if not options.table:
        for suite in suites:
            lay_out(suite, folder / "models" / suite)
        for trials in options.trials or [0, 4]:
            _run_all(runs, trials, _models(folder, suites, options.k), options.jobs)
    rows = [row for row in runs.rows() if row["model"].partition("/")[0] in suites]
    for line in tables(rows):
        print(line)
    return int(any(row["crash"] for row in rows))


def _models(folder: Path, suites: Sequence[str], text: str) -> list[str]:
    return [
        f"{suite}/{path.parent.name}"
        for suite in suites
        for path in sorted((folder / "models" / suite).glob("*/model.onnx"))
        if text in path.parent.name
    ]


def _run_all(runs: Runs, trials: int, models: Sequence[str], jobs: int) -> None:
    done = {row["model"] for row in runs.rows() if row["trials"] == trials}
    batches = list(_batches([model for model in models if model not in done]))
    with ThreadPoolExecutor(jobs) as pool:
        futures = [pool.submit(_run, runs, trials, batch) for batch in batches]
        try:
            for future in futures:
                future.result()
        except KeyboardInterrupt:
            runs.stopped = True
            for process in list(runs.processes):
                process.send_signal(signal.SIGINT)
            pool.shutdown(cancel_futures=True)
            raise SystemExit("stopped; start it again to go on") from None


def _batches(models: Sequence[str]) -> Iterator[list[str]]:
    alone = [model for model in models if model.startswith(ALONE)]
    others = [model for model in models if model not in alone]
    for start in range(0, len(others), BATCH):
        yield others[start : start + BATCH]
    yield from ([model] for model in alone)


def _run(runs: Runs, trials: int, models: Sequence[str]) -> None:
    """Run some models in one pytest process, and note those that it reports plain and prepacked."""
    name = f"{models[0].replace('/', '-')}-{trials}"
    report = runs.folder / "reports" / f"{name}.json"
    report.unlink(missing_ok=True)
    started = time.monotonic()
    code = _pytest(runs, trials, models, name, report)
    found: dict[str, list[dict[str, Any]]] = {model: [] for model in models}
    if report.exists():
        for case in json.loads(report.read_text())["cases"]:
            found["/".join(case["nodeid"].split("/")[1:3])].append(case)
    whole = {model: cases for model, cases in found.items() if len(cases) == 2}
    for model, cases in whole.items():
        runs.add(model, trials, cases)
    left = [model for model in models if model not in whole]
    print(
        f"{time.strftime('%H:%M:%S')} {models[0]} and {len(models) - 1} more, {trials} trials: "
        f"{len(whole)} done, exit code {code}, {time.monotonic() - started:.0f} s",
        file=sys.stderr,
    )
    if not left or runs.stopped:
        return
    if len(models) > 1:
        for model in left:
            _run(runs, trials, [model])
    else:
        crash = signal.Signals(-code).name if code < 0 else f"exit code {code}"
        runs.add(models[0], trials, found[models[0]], crash)


def _pytest(runs: Runs, trials: int, models: Sequence[str], name: str, report: Path) -> int:
    command = [
        *(sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "--tvm-target=llvm"),
        *("--tvm-prepack=both", f"--tvm-trials={trials}", f"--tvm-json={report}"),
        # One for each number of trials: records that are there are applied, however few are asked.
        f"--tvm-dir=store-{trials}",
        *(f"models/{model}" for model in models),
    ]
    log = runs.folder / "logs" / f"{name}.log"
    log.parent.mkdir(exist_ok=True)
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with log.open("wb") as output:
        process = subprocess.Popen(
            command, cwd=runs.folder, env=environment, stdout=output, stderr=subprocess.STDOUT
        )
        runs.processes.add(process)
        try:
            return process.wait()
        finally:
            runs.processes.discard(process)


if __name__ == "__main__":
    sys.exit(main())
