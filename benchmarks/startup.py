"""Start-up cost of the plugin: `pytest --co` with it against `-p no:tvmtune`, alternating.

Usage: python benchmarks/startup.py [RUNS]

The suite doesn't use the plugin; pytest-benchmark is on in both. Prints median, quartiles and the
median of the paired differences, in milliseconds, and what the plugin imported. Processor time is
what a busy machine changes least.
"""

from __future__ import annotations

import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

SUITE = "def test_plain():\n    assert True\n"
SPY = """
import sys
def pytest_unconfigure(config):
    names = [n for n in ("tvm", "numpy", "sqlite3", "multiprocessing") if n in sys.modules]
    print("IMPORTED", *names)
"""


@dataclass(frozen=True, kw_only=True)
class Start:
    """One start of pytest."""

    elapsed_s: float
    processor_s: float
    imported: str


def children_s() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def start(folder: Path, *options: str) -> Start:
    # Without bytecode on disk, every start would compile the plugin.
    environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": ""}
    used_before_s, started = children_s(), time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "--co", "-q", "-p", "no:cacheprovider", *options],
        cwd=folder, env=environment, check=True, capture_output=True, text=True,
    )  # fmt: skip
    elapsed_s, processor_s = time.perf_counter() - started, children_s() - used_before_s
    (imported,) = [line for line in done.stdout.splitlines() if line.startswith("IMPORTED")]
    return Start(elapsed_s=elapsed_s, processor_s=processor_s, imported=imported)


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
            start(folder, *options)
        starts: dict[str, list[Start]] = {name: [] for name in variants}
        for run in range(runs):
            order = list(variants) if run % 2 else list(variants)[::-1]
            for variant in order:
                starts[variant].append(start(folder, *variants[variant]))
    print(f"{runs} alternating runs, load average {os.getloadavg()[0]:.2f}, {os.cpu_count()} cores")
    for variant, made in starts.items():
        print(f"{variant}: {made[0].imported.lower()}")
    for kind in ("elapsed_s", "processor_s"):
        of_kind = {v: [getattr(one, kind) for one in made] for v, made in starts.items()}
        for variant, values in of_kind.items():
            describe(f"{variant}, {kind.removesuffix('_s')}", values)
        pairs = zip(*of_kind.values(), strict=True)
        difference = statistics.median(one - other for one, other in pairs)
        print(f"median paired difference {difference * 1e3:.1f} ms")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 20)
