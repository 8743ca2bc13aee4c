"""Peak memory of a run, in sizes of the model's parameters: 500 MB, made up or given by the test.

Usage: python benchmarks/memory.py [--mbytes 500] [--source made-up,given] [--prepack off,on]
           [--keep FOLDER]

For each source of the parameters and each prepack choice, pytest runs on a chain of layers three
times: it tunes and compiles everything and accepts it; then, with another activation, it tunes and
gates against that; then it runs again, warm. Every check is made, the numbers are compared with the
untuned build and prepacked with plain. While pytest runs, the PSS of all its processes is summed,
from /proc/*/smaps_rollup: what several share counts once.

Prints each run's peak, in MB and in sizes of the parameters, whose it was, and the limit; exits
with 1 where one is above: 2.5 without the gate, 3.5 with it, and 1 more where the test itself holds
them. Linux only.
"""

from __future__ import annotations

import argparse
import ctypes
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

LAYERS = 20
MOST, MOST_GATED = 2.5, 3.5
_PR_SET_CHILD_SUBREAPER = 36
_EVERY_S = 0.02
TEST = """
import os
import numpy as np
import pytest
from tvm import relax

LAYERS, SIZE, ACTIVATION, SOURCE = (os.environ[f"MEMORY_{n}"] for n in (
    "LAYERS", "SIZE", "ACTIVATION", "SOURCE"))
LAYERS, SIZE = int(LAYERS), int(SIZE)


def chain():
    matrix = compat.tensor_type()((SIZE, SIZE), "float32")
    x = relax.Var("x", compat.tensor_type()((1, SIZE), "float32"))
    weights = [relax.Var(f"w{i}", matrix) for i in range(LAYERS)]
    builder = relax.BlockBuilder()
    with builder.function("main", [x, *weights], attrs={"num_input": 1}):
        with builder.dataflow():
            value = x
            for weight in weights:
                product = builder.emit(relax.op.matmul(value, relax.op.permute_dims(weight)))
                value = builder.emit(getattr(relax.op, ACTIVATION)(product))
            result = builder.emit_output(value)
        builder.emit_func_output(result)
    return builder.finalize()


@pytest.mark.tvm_tune(trials=4, max_time=3)
def test_chain(tvm_tune):
    params = None
    if SOURCE == "given":
        rng = np.random.default_rng(0)
        scale = np.float32(SIZE**-0.5)
        params = [
            rng.standard_normal((SIZE, SIZE), dtype="float32") * scale for _ in range(LAYERS)
        ]
    run = tvm_tune(chain(), params=params, name="chain")
    assert len(run.mod.script()) < 1_000_000 and run.artifact.library.stat().st_size < 1_000_000
    run.check()
"""


@dataclass
class Peak:
    """The largest sum of PSS, and what made it up: (process name, anonymous and mapped bytes)."""

    total_bytes: int = 0
    parts: list[tuple[str, int, int]] = field(default_factory=list)

    def look(self, root: int) -> None:
        """Sum over the process `root` and all that descend from it."""
        parts = [part for pid in _descendants(root) if (part := _memory_of(pid))]
        total = sum(anonymous + mapped for _, anonymous, mapped in parts)
        if total > self.total_bytes:
            self.total_bytes, self.parts = total, parts


def _descendants(root: int) -> list[int]:
    parents: dict[int, int] = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            stat = (folder / "stat").read_text()
        except OSError:
            continue
        parents[int(folder.name)] = int(stat.rpartition(")")[2].split()[1])
    found = [root]
    for pid in found:
        found += [child for child, parent in parents.items() if parent == pid]
    return found


def _memory_of(pid: int) -> tuple[str, int, int] | None:
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
        name = Path(f"/proc/{pid}/comm").read_text().strip()
    except OSError:
        return None
    sizes = {line.split()[0]: int(line.split()[1]) << 10 for line in lines[1:]}
    return name, sizes["Pss_Anon:"], sizes["Pss:"] - sizes["Pss_Anon:"]


def measure(folder: Path, environment: dict[str, str], *options: str) -> Peak:
    """Return the peak of one pytest run, which must pass."""
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *options]
    log = folder / "log.txt"
    peak = Peak()
    with log.open("wb") as output:
        process = subprocess.Popen(
            command,
            cwd=folder,
            env={**os.environ, **environment},
            stdout=output,
            stderr=subprocess.STDOUT,
        )
        while process.poll() is None:
            peak.look(process.pid)
            time.sleep(_EVERY_S)
    if process.returncode:
        raise SystemExit(f"pytest failed:\n{log.read_text()[-4000:]}")
    return peak


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--mbytes", type=int, default=500)
    parser.add_argument("--source", default="made-up,given")
    parser.add_argument("--prepack", default="off,on")
    parser.add_argument("--keep", type=Path)
    options = parser.parse_args()
    # What loses its parent stays a descendant, and is counted.
    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1)
    size = int((options.mbytes * 1e6 / 4 / LAYERS) ** 0.5) // 16 * 16
    params_bytes = 4 * LAYERS * size * size
    print(f"{LAYERS} layers of {size} x {size} in float32: {params_bytes / 1e6:.0f} MB")
    failed = False
    with tempfile.TemporaryDirectory() as temporary:
        root = options.keep or Path(temporary)
        for source in options.source.split(","):
            for prepack in options.prepack.split(","):
                folder = root / f"{source}-{prepack}"
                folder.mkdir(parents=True)
                (folder / "test_chain.py").write_text(TEST)
                environment = {
                    "MEMORY_LAYERS": str(LAYERS),
                    "MEMORY_SIZE": str(size),
                    "MEMORY_SOURCE": source,
                }
                for what, activation, most, more in (
                    ("first, accepted", "sigmoid", MOST, ["--tvm-update-new"]),
                    ("gated", "tanh", MOST_GATED, []),
                    ("gated, warm", "tanh", MOST_GATED, []),
                    ("same code, warm", "sigmoid", MOST, []),
                ):
                    started = time.monotonic()
                    peak = measure(
                        folder,
                        {**environment, "MEMORY_ACTIVATION": activation},
                        f"--tvm-prepack={prepack}",
                        *more,
                    )
                    ratio = peak.total_bytes / params_bytes
                    limit = most + (source == "given")
                    failed |= ratio > limit
                    print(
                        f"{source:8} prepack {prepack:4} {what:16} "
                        f"{peak.total_bytes / 1e6:6.0f} MB = {ratio:.2f}x, limit {limit}x"
                        f"{'  ABOVE' if ratio > limit else ''}  "
                        f"({time.monotonic() - started:.0f} s)",
                        flush=True,
                    )
                    for name, anonymous, mapped in sorted(peak.parts, key=lambda p: -p[1] - p[2]):
                        if anonymous + mapped > 20e6:
                            print(
                                f"    {name:16} {anonymous / 1e6:6.0f} MB anonymous, "
                                f"{mapped / 1e6:6.0f} MB mapped"
                            )
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
