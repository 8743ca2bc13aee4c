"""The stand-in for an interpreter does what a real one does (tests/support/preloaded_python.py)."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from typing import Any

import psutil
import pytest

from tests.support import REAL_PYTHON, WITHOUT_TORCH
from tests.support.preloaded_python import PreloadedPython

SEES = "import os, sys; print(sys.argv, os.getcwd(), os.environ['WORD'], sys.stdin.read())"


@pytest.fixture
def environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(WITHOUT_TORCH), "WORD": "word"}


def run(python: str, *words: str, **options: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [python, *words], check=False, capture_output=True, text=True, input="told\n", **options
    )


@pytest.mark.parametrize(
    "words",
    [
        ("-c", SEES, "a", "b"),
        ("-u", "-c", SEES, "a"),
        ("-c", "raise SystemExit(3)"),
        ("-c", "raise SystemExit('why')"),
        ("-c", "import os, signal; os.kill(os.getpid(), signal.SIGSEGV)"),
        ("-m", "json.tool", "--compact", "-", "no-such-folder/out"),
    ],
    ids=str,
)
def test_arguments_files_and_exit_codes(
    preloaded_python: PreloadedPython, environment: dict[str, str], words: tuple[str, ...]
) -> None:
    seen, expected = (
        run(python, *words, env=environment) for python in (str(preloaded_python.path), REAL_PYTHON)
    )
    assert (seen.returncode, seen.stdout) == (expected.returncode, expected.stdout)
    if seen.returncode >= 0:  # of a signal, TVM tells
        assert seen.stderr.splitlines()[-1:] == expected.stderr.splitlines()[-1:]


def test_it_has_tvm_loaded_unless_the_path_is_another_one(
    preloaded_python: PreloadedPython, environment: dict[str, str]
) -> None:
    words = (str(preloaded_python.path), "-c", "import sys; print('tvm' in sys.modules)")
    assert run(*words, env=environment).stdout == "True\n"
    environment["PYTHONPATH"] = os.pathsep.join(["/somewhere", str(WITHOUT_TORCH)])
    assert run(*words, env=environment).stdout == "False\n"


@pytest.mark.parametrize("sent", [signal.SIGKILL, signal.SIGTERM])
def test_what_runs_dies_with_it(
    preloaded_python: PreloadedPython, environment: dict[str, str], sent: signal.Signals
) -> None:
    script = "import os, time; print(os.getpid(), flush=True); time.sleep(60)"
    words = [str(preloaded_python.path), "-c", script]
    with subprocess.Popen(words, env=environment, stdout=subprocess.PIPE, text=True) as started:
        assert started.stdout is not None
        runs = psutil.Process(int(started.stdout.readline()))
        started.send_signal(sent)
        assert started.wait(10) == -sent
    deadline = time.monotonic() + 10
    while runs.is_running() and runs.status() != psutil.STATUS_ZOMBIE:
        assert time.monotonic() < deadline
        time.sleep(0.01)
