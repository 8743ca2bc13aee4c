"""Devices behind TVM RPC: real trackers and servers on loopback, compared with this machine.

Usage: python benchmarks/devices.py numbers [PYTEST ARGUMENTS]  largest errors, here and there
       python benchmarks/devices.py tuning                      the same tuning on 1, 2, 4 servers
       python benchmarks/devices.py gate [DECISIONS]            the gate, here and there in turn
       python benchmarks/devices.py workers                     one xdist worker and four, 2 servers
       python benchmarks/devices.py faults [KILLS]              tests/devices with so many kills

`--emulated` as the first argument of `numbers` takes the emulated aarch64 device, once
`make .devices/aarch64/.installed` has made it. Servers on loopback share this machine's cores: the
gain of several is less than that of as many boards.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from statistics import median, quantiles
from typing import TYPE_CHECKING, Any

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from pytest_tvmtune.core.settings.rpc_address import RpcAddress  # noqa: E402
from tests.support.rpc_servers import devices  # noqa: E402

if TYPE_CHECKING:
    from pytest_tvmtune.stages.case import Case
    from pytest_tvmtune.store.artifacts import Artifact

AARCH64 = "llvm -mtriple=aarch64-linux-gnu -mcpu=cortex-a72"
MODELS = ("compute 0.1 ms", "compute 1 ms")


def main() -> None:
    command, *arguments = sys.argv[1:] or ["--help"]
    if command not in COMMANDS:
        sys.exit(__doc__)
    print(f"load average {os.getloadavg()[0]:.1f} at the start", flush=True)
    COMMANDS[command](arguments)


def numbers(arguments: Sequence[str]) -> None:
    """Print the largest error of each case, here and on a device, each tuned by itself."""
    is_emulated = "--emulated" in arguments
    chosen = [one for one in arguments if one != "--emulated"] or ["example_suite"]
    target = [f"--tvm-target={AARCH64}"] if is_emulated else []
    with tempfile.TemporaryDirectory() as folder, a_device(is_emulated) as address:
        here = cases(Path(folder, "here"), chosen)
        there = cases(Path(folder, "there"), [*chosen, *target, f"--tvm-rpc={address}"])
    for (name, prepack), (error, outcome) in sorted(there.items()):
        known = here.get((name, prepack), ("none", ""))[0]
        print(f"{name:24} {'prepacked' if prepack else 'plain':9} {outcome:8} {known} {error}")


@contextlib.contextmanager
def a_device(is_emulated: bool) -> Iterator[RpcAddress]:
    """Yield the address of a device."""
    if not is_emulated:
        with devices("x86", 1) as address:
            yield address
        return
    from tests.devices.emulated import emulated_server

    with emulated_server(ROOT / ".devices" / "aarch64", key="") as server:
        yield RpcAddress(host=server.host, port=server.port)


def cases(store: Path, arguments: Sequence[str]) -> dict[tuple[str, bool], tuple[str, str]]:
    """Run pytest; return, by name and prepack, a case's largest error and its test's outcome."""
    report = store.with_suffix(".json")
    run_pytest(store, [*arguments, f"--tvm-json={report}"])
    found = {}
    for case in json.loads(report.read_text())["cases"]:
        worst = max((one["max_abs_error"] or 0.0 for one in case["errors"]), default=None)
        text = "-" if worst is None else f"{worst:.1e}"
        found[case["name"], case["prepack"]] = text, case["outcome"]
    return found


def run_pytest(store: Path, arguments: Sequence[str]) -> float:
    """Run pytest on this checkout; return its seconds."""
    command = [
        sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-m", "not slow",
        "-W", "default", "--tvm-update-new", f"--tvm-dir={store}", *arguments,
    ]  # fmt: skip
    started = time.monotonic()
    done = subprocess.run(command, cwd=ROOT, check=False, stdout=subprocess.PIPE, text=True)
    print(done.stdout.strip().splitlines()[-1], flush=True)
    return time.monotonic() - started


def tuning(_arguments: Sequence[str]) -> None:
    """Print the time and the counts of the same tuning on more and more servers."""
    for model in ("test_mlp.py", "test_silero_vad.py"):
        for servers in (1, 2, 4):
            with tempfile.TemporaryDirectory() as folder, devices("x86", servers) as address:
                store = Path(folder, "store")
                # Compiled once before, so that what is timed is tuning and little else.
                spent_s = run_pytest(store, [f"example_suite/{model}", f"--tvm-rpc={address}"])
                records, trials = tuned(store)
            measured = Counter(records)
            print(
                f"{model:20} {servers} servers: {spent_s:5.0f} s, {trials} trials, "
                f"{len(records)} records kept, measured twice: "
                f"{sum(count > 1 for count in measured.values())}",
                flush=True,
            )


def tuned(store: Path) -> tuple[list[str], int]:
    """Return the schedules that a store has, and the trials that its ledgers counted."""
    lines = [
        (path.name, json.loads(line))
        for path in store.rglob("tuning/**/*.jsonl")
        for line in path.read_text().splitlines()
    ]
    records = [name + json.dumps(one["data"][0]) for name, one in lines if one["kind"] == "record"]
    spent: dict[tuple[str, str], int] = {}
    for name, one in lines:
        if one["kind"] == "served":
            key = name, one["run_id"]
            spent[key] = max(spent.get(key, 0), one["spent"])
    return records, sum(spent.values())


def gate(arguments: Sequence[str]) -> None:
    """Print what the gate decides and what it takes, here and on a device in turn."""
    decisions = int(arguments[0]) if arguments else 50
    rng = random.Random(0)
    with tempfile.TemporaryDirectory() as folder, devices("x86", 1) as address:
        for what, percent, count in (("A/A", 0, 2 * decisions), ("+5 %", 5, decisions)):
            taken: dict[str, list[Any]] = {"here": [], "there": []}
            sides = {
                (place, model): chains(Path(folder), model, percent, rpc)
                for model in MODELS
                for place, rpc in (("here", None), ("there", address))
            }
            for number in range(count):
                model = MODELS[number % len(MODELS)]
                for place in rng.sample(list(taken), 2):
                    taken[place].append(decide(*sides[place, model], rng))
            for place, found in taken.items():
                print_decisions(what, place, found)


def chains(
    folder: Path, model: str, percent: int, rpc: RpcAddress | None
) -> tuple[Case, Artifact, Artifact]:
    """Return a case, and two libraries of it of which one does so many percent more work."""
    from gate_models import UNITS, open_chain

    from pytest_tvmtune.core.settings.options import resolve_run
    from pytest_tvmtune.core.settings.target_spec import parse_target
    from pytest_tvmtune.stages.case import RunContext, open_case
    from pytest_tvmtune.stages.compiling import build_untuned
    from pytest_tvmtune.store.layout import open_store

    store = open_store(folder / "store")
    run = resolve_run({"trials": 0, "num_threads": 1, "rpc": rpc}, store_dir=store.root)
    options = run.case_options({}, target=parse_target("llvm"), prepack=False)

    def built(units: int, naming: str) -> tuple[Case, Artifact]:
        opened = open_chain(model, units=units, naming=naming)
        case = open_case(opened, options, RunContext(store=store), name=naming, nodeid=model)
        return case, build_untuned(case).artifact

    case, old = built(UNITS, "kernel")
    return case, old, built(UNITS + percent, "renamed")[1]


def decide(case: Case, old: Artifact, new: Artifact, rng: random.Random) -> tuple[str, float, Any]:
    """Return a verdict, the seconds from asking to having it, and what was measured."""
    from pytest_tvmtune.core.gating.confidence_sequence import item_alpha
    from pytest_tvmtune.stages.latency.latency_gate import latency_of
    from pytest_tvmtune.stages.latency.paired_measurement import measure

    alpha = item_alpha(1)
    started = time.monotonic()
    case = replace(case, nodeid=f"{rng.random()}")
    measured = measure(case, old, new, alpha=alpha, expected_s=1e-3, tell_noise=False)
    spent_s = time.monotonic() - started
    latency = latency_of(measured, case.options.threshold, alpha=alpha)
    return latency.verdict, spent_s, latency


def print_decisions(what: str, place: str, found: Sequence[tuple[str, float, Any]]) -> None:
    verdicts = Counter(verdict for verdict, _, _ in found)
    seconds = [spent_s for _, spent_s, _ in found]
    ratios = [latency.slowdown_ratio for _, _, latency in found]
    widths = [high / low for _, _, one in found for low, high in [one.interval or (1.0, 1.0)]]
    low, _, high = quantiles(seconds, n=4)
    print(
        f"{what:5} {place:6} {dict(verdicts)}, ratio {median(ratios):.4f} "
        f"({min(ratios):.4f} to {max(ratios):.4f}), interval of {median(widths):.4f}, "
        f"{median(seconds):.2f} s a decision (quartiles {low:.2f}, {high:.2f}), "
        f"{median(latency.epochs for _, _, latency in found)} epochs",
        flush=True,
    )


def workers(_arguments: Sequence[str]) -> None:
    """Print the verdicts with one xdist worker and with four, on two servers."""
    chosen = [f"example_suite/test_{name}.py" for name in ("mlp", "cnn", "transformer", "float16")]
    with tempfile.TemporaryDirectory() as folder, devices("x86", 2) as address:
        store, there = Path(folder, "store"), f"--tvm-rpc={address}"
        run_pytest(store, [*chosen, there])
        for distribution in ("load", "loadgroup", "worksteal"):
            for count in (1, 4):
                report = Path(folder, f"{distribution}-{count}.json")
                xdist = [f"-n{count}", f"--dist={distribution}", f"--tvm-json={report}"]
                spent_s = run_pytest(store, [*chosen, there, *xdist])
                told = json.loads(report.read_text())["cases"]
                verdicts = Counter((case["latency"] or {}).get("verdict", "none") for case in told)
                counts = ", ".join(f"{one} {verdicts[one]}" for one in sorted(verdicts))
                print(f"{distribution:10} -n {count}: {spent_s:.0f} s, {counts}", flush=True)


def faults(arguments: Sequence[str]) -> None:
    """Run the tests of killed and hanging servers with many kills."""
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-v",
        str(ROOT / "tests/devices/test_device_faults.py"),
    ]
    kills = arguments[0] if arguments else "20"
    subprocess.run(
        [*command, "--durations=0"], env={**os.environ, "TVMTUNE_KILLS": kills}, check=False
    )


COMMANDS = {
    "numbers": numbers,
    "tuning": tuning,
    "gate": gate,
    "workers": workers,
    "faults": faults,
}

if __name__ == "__main__":
    main()
