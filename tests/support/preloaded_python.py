"""A `python` that starts in milliseconds, with pytest, TVM and this package loaded.

What runs as it is forked from a server. Else the pytest process of a suite would import pytest's
plugins, a second for a suite that takes one, and the workers of pytest-xdist and the server of jobs
TVM, two seconds each. Tests of how a process begins or is killed start real interpreters.
"""

from __future__ import annotations

import contextlib
import marshal
import os
import shutil
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import ROOT, WITHOUT_TORCH

_CLIENT = Path(__file__).with_name("preloaded_python_client.py")
_SERVER = Path(__file__).with_name("preloaded_python_server.py")
# TVM binds the thread that runs a kernel to a core: what that starts then would have no other.
USABLE_CORES = os.sched_getaffinity(0)


class PreloadedPython:
    """The server, and the interpreter that asks it: path, in a folder that has `pytest`, too."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="python-"))
        self.path = self.folder / "python"
        kept = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith("COV") and name != "PYTHONPATH"
        }
        pythons = {name: value for name, value in kept.items() if name.startswith("PYTHON")}
        usual = (pythons, (str(WITHOUT_TORCH), str(ROOT)))
        self.path.with_name("usual").write_bytes(marshal.dumps(usual))
        self.path.write_text(f"#!{sys.executable} -IS\n{_CLIENT.read_text()}")
        self.folder.joinpath("pytest").write_text(f'#!/bin/sh\nexec {self.path} -m pytest "$@"\n')
        for program in (self.path, self.folder / "pytest"):
            program.chmod(program.stat().st_mode | stat.S_IXUSR)
        os.sched_setaffinity(0, USABLE_CORES)
        self._process = subprocess.Popen(
            [sys.executable, str(_SERVER), str(self.path)],
            env={**kept, "PYTHONPATH": str(WITHOUT_TORCH)},
            stdin=subprocess.DEVNULL,
        )
        while not self.path.with_name("socket").exists():
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(0.01)
                raise RuntimeError("the server of preloaded interpreters ended")

    def end(self) -> None:
        """End the server, and what it has forked."""
        self._process.kill()
        self._process.wait()
        shutil.rmtree(self.folder)


@pytest.fixture(scope="session")
def preloaded_python() -> Iterator[PreloadedPython]:
    """A stand-in for `python` and `pytest`, one for each worker."""
    python = PreloadedPython()
    yield python
    python.end()


@pytest.fixture(scope="module", autouse=True)
def preloaded_jobs(preloaded_python: PreloadedPython) -> Iterator[None]:
    """Have what this process starts run in forks: servers of jobs, and jobs."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(sys, "executable", str(preloaded_python.path))
        patched.setenv("PYTHONPATH", str(WITHOUT_TORCH))
        yield
