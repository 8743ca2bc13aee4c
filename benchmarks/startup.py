"""Start-up cost of the plugin: `pytest --co` with it against `-p no:tvmtune`, alternating.

Usage: python benchmarks/startup.py [RUNS]

The suite doesn't use the plugin; pytest-benchmark is on in both. Prints median, quartiles and the
median of the paired differences, in milliseconds, and what the plugin imported.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

SUITE = "def test_plain():\n    assert True\n"
SPY = """
import sys
def pytest_unconfigure(config):
    names = [n for n in ("tvm", "numpy", "sqlite3", "multiprocessing") if n in sys.modules]
    print("IMPORTED", *names)
"""


def once(folder: Path, *options: str) -> tuple[float, str]:
    started = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "--co", "-q", "-p", "no:cacheprovider", *options],
        cwd=folder, check=True, capture_output=True, text=True,
    )  # fmt: skip
    seconds = time.perf_counter() - started
    return seconds, next(line for line in done.stdout.splitlines() if line.startswith("IMPORTED"))


def describe(name: str, values: list[float]) -> None:
    low, middle, high = statistics.quantiles(values, n=4)
    print(f"{name:24} median {middle * 1e3:7.1f} ms  (quartiles {low * 1e3:.1f}, {high * 1e3:.1f})")


def main(runs: int) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "test_plain.py").write_text(SUITE)
        (folder / "conftest.py").write_text(SPY)
        variants = {"with tvmtune": (), "-p no:tvmtune": ("-p", "no:tvmtune")}
        for options in variants.values():
            once(folder, *options)
        taken: dict[str, list[float]] = {name: [] for name in variants}
        imported = {}
        for run in range(runs):
            order = list(variants) if run % 2 else list(variants)[::-1]
            for variant in order:
                seconds, imported[variant] = once(folder, *variants[variant])
                taken[variant].append(seconds)
    print(f"{runs} alternating runs, load average {os.getloadavg()[0]:.2f}, {os.cpu_count()} cores")
    for variant, values in taken.items():
        describe(variant, values)
        print(f"{'':24} {imported[variant].lower()}")
    pairs = zip(*taken.values(), strict=True)
    difference = statistics.median(one - other for one, other in pairs)
    print(f"median paired difference {difference * 1e3:.1f} ms")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 20)
