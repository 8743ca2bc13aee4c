"""The suite on which compare_tools.py runs other tools: chains, their tests, and a repository.

In a folder: the baseline that this plugin gates against, an exported folder of each chain, tests
for the plugins of pytest, and for asv, a repository with a branch for each chain.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import sysconfig
import time
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from gate_models import UNITS, make_chain

HERE = Path(__file__).parent
MODEL = "compute 1 ms"
OLD, SAME, SLOWER = "old", "same", "slower"
CHANGES = (SAME, SLOWER)

TEST_GATE = """
import os
import pytest
from gate_models import make_chain

UNITS = {"old": 100, "same": 100, "slower": int(os.environ["SLOWER_UNITS"])}

def open_chain(tvm_tune, variant):
    naming = "kernel" if variant == "old" else "renamed"
    mod, weights, x = make_chain("compute 1 ms", units=UNITS[variant], naming=naming)
    return tvm_tune(mod, params=weights, inputs=[x])

@pytest.mark.parametrize("variant", UNITS)
def test_exported(tvm_tune, variant):
    open_chain(tvm_tune, variant).assert_no_regression()

def test_gated(tvm_tune):
    open_chain(tvm_tune, os.environ["VARIANT"]).assert_no_regression()
"""
# What the other tools time: the exported folder, as a deployment runs it.
CHAIN = """
import sys
from pathlib import Path
import numpy as np

def open_call(folder):
    sys.path.insert(0, folder)
    from load import load
    arrays = np.load(Path(__file__).with_name("arrays.npz"))
    run, x = load(folder, [arrays["weights"]]), arrays["x"]
    return lambda: run(x)
"""
TEST_CALL = """
import os
from chain import open_call

def test_call(benchmark):
    benchmark(open_call(os.environ["VARIANT_FOLDER"]))
"""
ASV_BENCHMARK = """
from chain import open_call
from project import FOLDER

class Chain:
    def setup(self):
        self.call = open_call(FOLDER)

    def time_call(self):
        self.call()
"""
ASV_PROJECT = """
[project]
name = "project"
version = "1"
[tool.setuptools]
py-modules = ["project"]
"""
# In the environment that asv makes: TVM, from the environment that the other tools run in.
SHARE_PACKAGES = """
import sysconfig
from pathlib import Path
Path(sysconfig.get_path("purelib"), "shared.pth").write_text({paths!r})
"""
# A command that ended, and the seconds that it took.
Timed = tuple[subprocess.CompletedProcess[str], float]


@dataclass(frozen=True, kw_only=True)
class Bench:
    """The folder of a comparison, and what its tools have stored so far."""

    folder: Path
    slower_units: int
    medians: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))

    def run(self, *command: str, **environment: str) -> Timed:
        """Run a command in the folder, and return it with the seconds that it took."""
        paths = [str(self.folder), str(HERE), str(HERE.parent)]
        env = {
            **os.environ,
            "TVM_NUM_THREADS": "1",
            "SLOWER_UNITS": str(self.slower_units),
            "PYTHONPATH": os.pathsep.join(paths),
            "PYTHONDONTWRITEBYTECODE": "1",
            **environment,
        }
        started = time.monotonic()
        done = subprocess.run(
            command, cwd=self.folder, env=env, capture_output=True, text=True, check=False
        )
        return done, time.monotonic() - started

    def pytest(self, *arguments: str, **environment: str) -> Timed:
        """Run pytest in the folder."""
        return self.run(sys.executable, "-m", "pytest", "-q", *arguments, **environment)

    def exported(self, variant: str) -> str:
        """Return the folder of an exported chain."""
        return str(self.folder / variant)


def prepare(bench: Bench) -> None:
    """Accept the old chain, export all three, and make the repository of asv."""
    files = {
        "test_gate.py": TEST_GATE,
        "test_call.py": TEST_CALL,
        "chain.py": CHAIN,
        "pytest.ini": "[pytest]\n",
    }
    for name, text in files.items():
        (bench.folder / name).write_text(text)
    _, (weights,), x = make_chain(MODEL, units=UNITS, naming=OLD)
    np.savez(bench.folder / "arrays.npz", weights=weights, x=x)
    accept = ("test_gate.py", "--tvm-trials=0", "--tvm-num-threads=1", "--tvm-update-new")
    succeed(bench.pytest(*accept, VARIANT=OLD)[0])
    for variant in (OLD, *CHANGES):
        command = (str(Path(sys.executable).with_name("tvmtune")), "export")
        succeed(bench.run(*command, f"test_exported[{variant}", bench.exported(variant))[0])
    _make_repository(bench)


def _make_repository(bench: Bench) -> None:
    """Commit a project that opens the old chain, and on two branches, its changes."""
    repository = bench.folder / "repository"
    repository.mkdir()
    (repository / "pyproject.toml").write_text(ASV_PROJECT)

    def git(*arguments: str) -> None:
        who = ("-c", "user.name=asv", "-c", "user.email=asv@localhost")
        succeed(bench.run("git", "-C", str(repository), *who, *arguments)[0])

    git("init", "--quiet", "--initial-branch=old")
    for variant in (OLD, *CHANGES):
        if variant != OLD:
            git("checkout", "--quiet", "-b", variant, OLD)
        (repository / "project.py").write_text(f"FOLDER = {bench.exported(variant)!r}\n")
        git("add", ".")
        git("commit", "--quiet", "--message", variant)
    folder = bench.folder / "asv"
    (folder / "benchmarks").mkdir(parents=True)
    (folder / "benchmarks" / "__init__.py").touch()
    (folder / "benchmarks" / "chain_benchmark.py").write_text(ASV_BENCHMARK)
    shared = "\n".join([sysconfig.get_path("purelib"), str(bench.folder)])
    (folder / "share_packages.py").write_text(SHARE_PACKAGES.format(paths=shared))
    config = {
        "version": 1,
        "repo": str(repository),
        "branches": [OLD],
        "environment_type": "virtualenv",
        "pythons": ["{}.{}".format(*sys.version_info)],
        "build_command": [],
        "install_command": [
            "in-dir={env_dir} python -m pip install --no-deps {build_dir}",
            "in-dir={env_dir} python {conf_dir}/share_packages.py",
        ],
    }
    (folder / "asv.conf.json").write_text(json.dumps(config))


def succeed(done: subprocess.CompletedProcess[str]) -> None:
    """Exit with the output of a command that failed."""
    if done.returncode != 0:
        raise SystemExit(f"{' '.join(done.args)}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}")
