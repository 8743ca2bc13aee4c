"""What naming TVM and the compiler by content takes: with nothing remembered, and in a warm run.

Usage: python benchmarks/toolchain.py [RUNS]

Prints median and quartiles in milliseconds, by the clock and of this process's CPU time.
"""

from __future__ import annotations

import os
import statistics
import sys
import tempfile
import time
from pathlib import Path

from pytest_tvmtune.relax.installation import toolchain_identity, tvm_files
from pytest_tvmtune.store.layout import Store, open_store


def once(store: Store) -> tuple[float, float]:
    tvm_files._identity.cache_clear()  # noqa: SLF001
    toolchain_identity._compiler.cache_clear()  # noqa: SLF001
    began, cpu_began = time.perf_counter(), time.process_time()
    toolchain_identity.toolchain_identity(store)
    return time.perf_counter() - began, time.process_time() - cpu_began


def describe(name: str, taken: list[tuple[float, float]]) -> None:
    for of, seconds in zip(("clock", "CPU"), zip(*taken, strict=True), strict=True):
        low, middle, high = (1e3 * one for one in statistics.quantiles(seconds, n=4))
        print(f"{name:5} {of:6} median {middle:7.1f} ms  (quartiles {low:.1f}, {high:.1f})")


def main(runs: int) -> None:
    import tvm  # noqa: F401

    cold, warm = [], []
    with tempfile.TemporaryDirectory() as name:
        store = open_store(Path(name))
        for _ in range(runs):
            store.digests.unlink(missing_ok=True)
            cold.append(once(store))
            warm.append(once(store))
    print(f"{runs} runs, load average {os.getloadavg()[0]:.2f}, {os.cpu_count()} cores")
    describe("cold", cold)
    describe("warm", warm)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 20)
