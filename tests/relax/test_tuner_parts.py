"""The parts of the tuner: intrinsics, the forking builder, the tail of a growing file."""

from __future__ import annotations

import inspect
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from pytest_tvmtune.processes.line_tail import LineTail
from tests.support import IMPORTABLE

INTRINSICS = """
import inspect, sys
stack = inspect.stack
from pytest_tvmtune.relax.tuning.intrinsics import import_intrinsics
import_intrinsics("llvm"); import_intrinsics("llvm")
assert inspect.stack is stack
names = [m.rpartition(".")[2] for m in sys.modules if m.startswith("tvm.s_tir.tensor_intrin.")]
print(sorted(names))
from tvm.s_tir import TensorIntrin
TensorIntrin.get("dot_16x4_vnni")
import tvm.s_tir.tensor_intrin as package
assert not hasattr(package, "cuda")
"""

BUILDER = """
from pathlib import Path
import sys
import tvm
from tvm import te
from pytest_tvmtune.relax.tuning.candidates.candidate_builder import build_candidates
from pytest_tvmtune.relax.tuning.candidates.tuner_forks import start_server
from tests.relax import builds

def candidate(name):
    a = te.placeholder((8,), name="a")
    b = te.compute((8,), lambda i: a[i] + 1.0, name=name)
    return tvm.IRModule({"main": te.create_prim_func([a, b])})

if __name__ == "__main__":
    target = tvm.target.Target({"kind": "llvm", "num-cores": 2})
    scratch = Path(sys.argv[1])
    start_server("llvm", memory_bytes=1 << 30)
    # What hangs has little time; all others have what a loaded machine needs.
    for timeout_s, *names in (
        (60.0, "fine", "crash_here", "raise_here", "eat_here", "fine_too"),
        (12.0, "hang_here", "fine_after_all"),
    ):
        results = build_candidates([candidate(n) for n in names], target, max_workers=2,
                                   timeout_s=timeout_s, scratch=scratch,
                                   build=builds.by_kind_of_function)
        for name, result in zip(names, results):
            print(name, "|", result.library is not None, "|", result.problem)
            if result.library:
                tvm.runtime.load_module(str(result.library))["main"]
    done = build_candidates([candidate("fine")], target, max_workers=2, timeout_s=60.0,
                            scratch=scratch, build=builds.tell_imports)[0]
    listed = (done.library.parent / "modules.txt").read_text().split()
    print("preloaded", "tvm.driver" in listed, "tvm.s_tir.tensor_intrin" in listed)
"""


def run_script(tmp_path: Path, script: str, monkeypatch: pytest.MonkeyPatch) -> str:
    file = tmp_path / "script.py"
    file.write_text(script)
    monkeypatch.setenv("PYTHONPATH", IMPORTABLE)
    done = subprocess.run(
        [sys.executable, str(file), str(tmp_path)],
        capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_only_the_targets_own_intrinsics_are_imported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    printed = run_script(tmp_path, INTRINSICS, monkeypatch)
    assert printed.strip() == "['arm_cpu', 'dot_product_common', 'x86']"


def test_a_bad_candidate_costs_that_candidate_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    printed = run_script(tmp_path, BUILDER, monkeypatch)
    rows = [line.split(" | ") for line in printed.splitlines() if " | " in line]
    # What says nothing has the line that raised it.
    rows[3][2] = rows[3][2].partition("MemoryError: ")[0] + "MemoryError: "
    assert rows == [
        ["fine", "True", ""],
        ["crash_here", "False", "build: crashed with SIGSEGV"],
        ["raise_here", "False", "build: ValueError: no such schedule"],
        ["eat_here", "False", "build: MemoryError: "],
        ["fine_too", "True", ""],
        ["hang_here", "False", "build: time-out after 12 s"],
        ["fine_after_all", "True", ""],
    ]
    assert "preloaded True True" in printed


def test_a_tail_gives_whole_lines_once(tmp_path: Path) -> None:
    path = tmp_path / "growing"
    path.write_bytes(b"one\ntwo\nthr")
    tail = LineTail(path=path)
    assert tail.new_lines() == [b"one\n", b"two\n"]
    assert tail.new_lines() == []
    with path.open("ab") as file:
        file.write(b"ee\n")
    assert tail.new_lines() == [b"three\n"]


def test_inspect_is_left_alone_here() -> None:
    """The fast import patches `inspect.stack` in other processes only."""
    frames: list[Any] = inspect.stack()
    assert frames[0].code_context is not None
