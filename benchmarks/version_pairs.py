"""Which versions of apache-tvm and apache-tvm-ffi work together: each pair, in a process.

Usage: python benchmarks/version_pairs.py [FOLDER]

Installs each version into a folder (kept in FOLDER, where one is given), puts a pair of them first
on the path of a new interpreter, and tries all that this package needs of TVM there: the check that
`pytest` makes of a version that it doesn't know. Prints a table in Markdown.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path

TVM = ("0.25.0.post1", "0.26.0", "0.27.0", "0.27.0.post1")
# From the oldest that any of them accepts; 0.1.13, 0.1.14, and 0.1.15 aren't on the index.
FFI = (
    "0.1.12", "0.1.13.post2", "0.1.13.post3", "0.1.14.post0", "0.1.14.post1", "0.1.15.post1",
    "0.1.15.post2",
)  # fmt: skip
TRY = """
import json, sys
sys.path[:0] = sys.argv[1:]
sys.modules["torch"] = None
from pytest_tvmtune.relax.installation import conformance_job as job
class Context:
    def enter_stage(self, stage):
        print("stage", stage.text, flush=True)
problems = job.run(job.Request(parts=job.PARTS), Context()).problems
print("problems", json.dumps(problems), flush=True)
"""
TIMEOUT_S = 300


def installed(package: str, version: str, below: Path) -> Path:
    """Return a folder with one version of a package."""
    folder = below / f"{package}-{version}"
    if not folder.exists():
        options = ["--quiet", "--disable-pip-version-check", "--no-deps", "--target", str(folder)]
        command = [sys.executable, "-m", "pip", "install", *options, f"{package}=={version}"]
        subprocess.run(command, check=True)
    return folder


def result_of(tvm: Path, ffi: Path) -> str:
    """Return what comes of a pair: `works`, or where it fails."""
    done = subprocess.run(
        [sys.executable, "-c", TRY, str(tvm), str(ffi)],
        capture_output=True, text=True, check=False, timeout=TIMEOUT_S,
    )  # fmt: skip
    lines = [line for line in done.stdout.splitlines() if line.startswith(("stage ", "problems "))]
    last = lines[-1] if lines else "stage importing TVM"
    kind, _, text = last.partition(" ")
    if kind == "problems" and not done.returncode:
        problems = json.loads(text)
        return "; ".join(f"{part}: {why}" for part, why in problems.items()) or "works"
    how = f"signal {-done.returncode}" if done.returncode < 0 else "an exception"
    return f"{how} in {text}: {(done.stderr.strip().splitlines() or [''])[-1][:120]}"


def main(below: Path) -> None:
    print("| apache-tvm | apache-tvm-ffi | result |\n|---|---|---|")
    for tvm in TVM:
        for ffi in FFI:
            pair = installed("apache-tvm", tvm, below), installed("apache-tvm-ffi", ffi, below)
            print(f"| {tvm} | {ffi} | {result_of(*pair)} |", flush=True)


if __name__ == "__main__":
    if len(sys.argv) > 1:
        main(Path(sys.argv[1]).resolve())
    else:
        with tempfile.TemporaryDirectory() as folder:
            main(Path(folder))
