"""The example suite with two versions of the plugin, alternating: cold (a new store) and warm.

Usage: python benchmarks/example_suite.py BEFORE [--cold N] [--warm N] [--select EXPRESSION]

BEFORE: another checkout of this repository, such as `git worktree add ../before main~40`. Both run
with this interpreter and its packages, their own models and a store of their own. EXPRESSION:
pytest's -k, to take some of the models. Prints the seconds of each run of pytest, and the median
and the range of the ratios of the pairs (this checkout's seconds divided by BEFORE's).
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).parents[1]
NAMES = ("before", "now")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("before", type=Path)
    parser.add_argument("--cold", type=int, default=1)
    parser.add_argument("--warm", type=int, default=5)
    parser.add_argument("--select", default="")
    given = parser.parse_args()
    checkouts = dict(zip(NAMES, (given.before.resolve(), HERE), strict=True))
    with tempfile.TemporaryDirectory() as folder:
        stores = {name: Path(folder, name) for name in NAMES}
        for kind, runs in (("cold", given.cold), ("warm", given.warm)):
            pairs = []
            for number in range(runs):
                if kind == "cold":
                    stores = {name: Path(folder, f"{name}-{number}") for name in NAMES}
                # What is first in one pair is second in the next.
                order = NAMES if number % 2 else NAMES[::-1]
                taken = {n: _run(checkouts[n], stores[n], given.select) for n in order}
                pairs.append(taken["now"] / taken["before"])
                times = ", ".join(f"{name} {taken[name]:.1f} s" for name in NAMES)
                print(f"{kind} {number + 1}: {times}, load {os.getloadavg()[0]:.1f}", flush=True)
            if pairs:
                print(
                    f"{kind}: ratio {statistics.median(pairs):.3f}, median of {runs} "
                    f"({min(pairs):.3f} to {max(pairs):.3f})",
                    flush=True,
                )


def _run(checkout: Path, store: Path, select: str) -> float:
    """Return the seconds of a whole pytest process, the baselines accepted where there are none."""
    options = ["-m", "not slow", "-q", "-p", "no:cacheprovider", "--tvm-update-new"]
    options += [f"--tvm-dir={store}", *(["-k", select] if select else [])]
    started = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-m", "pytest", str(checkout / "example_suite"), *options],
        # The current folder is the first that Python looks into.
        cwd=checkout,
        env={**os.environ, "PYTHONPATH": str(checkout)},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        sys.exit(f"{checkout}: pytest ended with {done.returncode}\n{done.stdout[-3000:]}")
    return time.perf_counter() - started


if __name__ == "__main__":
    main()
