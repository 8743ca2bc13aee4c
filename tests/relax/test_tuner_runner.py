"""The measuring process: what crashes, hangs or eats memory there costs that candidate only."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

SCRIPT = """
import math, os, sys, time
from pathlib import Path
import psutil
import tvm
from tvm.script import tirx as T
from pytest_tvmtune.relax.tuning.candidates.tuner_forks import start_server
from pytest_tvmtune.relax.tuning.candidates.candidate_runner import Runner

N = 1 << 16

def kernel(call):
    @T.prim_func(s_tir=True)
    def main(a: T.Buffer((N,), "float32"), b: T.Buffer((N,), "float32")):
        T.func_attr({"global_symbol": "main"})
        for i in range(N):
            with T.sblock("b"):
                vi = T.axis.remap("S", [i])
                b[vi] = a[vi] + T.Cast("float32", call)
    return main

def built(name, call):
    path = Path(sys.argv[1]) / f"{name}.so"
    tvm.compile(tvm.IRModule({"main": kernel(call)}), "llvm").export_library(str(path))
    return path

if __name__ == "__main__":
    start_server("llvm", memory_bytes=1 << 30)
    fine = built("fine", T.int32(1))
    runner = Runner(timeout_s=5.0)
    args = [["TENSOR", "float32", [N]]] * 2

    def measure(name, path, best_s=math.inf, shape=args):
        done = runner.measure(path, shape, best_s=best_s)
        print(name, "|", done.run_s is not None and 0 < done.run_s < 1, "|", done.problem)

    def pid():
        return runner._process.pid

    measure("fine", fine)
    first = pid()
    measure("again", fine, best_s=1e-9)
    print("threads", runner.num_threads)
    print("same process", pid() == first)
    measure("crash", built("crash", T.call_extern("int32", "abort")))
    measure("after crash", fine)
    measure("hang", built("hang", T.call_extern("int32", "sleep", 3600)))
    measure("after hang", fine)
    measure("no library", Path(sys.argv[1]) / "none.so")
    measure("eats", fine, shape=[["TENSOR", "float32", [1 << 34]]] * 2)
    measure("after eating", fine)
    psutil.Process(pid()).kill()
    measure("after kill", fine)
    psutil.Process(pid()).parent().kill()
    measure("after its server's kill", fine)
    print("name", psutil.Process(pid()).name())
    last = psutil.Process(pid())
    runner.close()
    print("closed", not last.is_running())
"""


def test_candidates_cost_themselves_only(tmp_path: Path) -> None:
    file = tmp_path / "script.py"
    file.write_text(SCRIPT)
    done = subprocess.run(
        [sys.executable, str(file), str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
        env={**os.environ, "TVM_NUM_THREADS": "2"},
    )
    assert done.returncode == 0, done.stderr
    rows = [line.split(" | ") for line in done.stdout.splitlines() if " | " in line]
    told = {name: (measured, problem) for name, measured, problem in rows}
    for name in (
        "fine",
        "again",
        "after crash",
        "after hang",
        "after eating",
        "after kill",
        "after its server's kill",
    ):
        assert told[name] == ("True", "")
    assert told["crash"] == ("False", "run: crashed with SIGABRT")
    assert told["hang"] == ("False", "run: time-out after 5 s")
    assert told["no library"][1].startswith("run: ")
    assert told["eats"][1].startswith("run: ")
    assert "threads 2" in done.stdout
    assert "same process True" in done.stdout
    assert "name tvmtune-runner" in done.stdout
    assert "closed True" in done.stdout
