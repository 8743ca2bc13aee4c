"""A run that is stopped while it tunes: no process is left, and the next run goes on."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from typing import Any

import psutil
import pytest

from tests.plugin.snippets import TINY

SUITE = (
    TINY
    + """
@pytest.mark.tvm_tune(trials=4)
def test_tiny(tvm_tune):
    run = tvm_tune(Tiny(), **GIVEN)
    run.check(EXPECTED)
    assert [task.is_settled for task in run.tasks] == [True, True]
"""
)


def family_while_tuning(run: subprocess.Popen[Any]) -> list[psutil.Process]:
    """Return all descendants of a run once its tuner has processes of its own."""
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        family = psutil.Process(run.pid).children(recursive=True)
        if len(family) >= 4:  # job server, tuner, its server of forks, a candidate or the runner
            return family
        time.sleep(0.05)
    raise AssertionError("the tuner never started")


# SIGKILL: tests/stages/test_faults.py, several times over.
@pytest.mark.parametrize(
    "sent", [signal.SIGINT, pytest.param(signal.SIGTERM, marks=pytest.mark.slow)]
)
def test_stopped_while_tuning(suite: pytest.Pytester, sent: signal.Signals) -> None:
    suite.makepyfile(test_it=SUITE)
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider"]
    run = subprocess.Popen(
        command, cwd=suite.path, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    family = family_while_tuning(run)
    run.send_signal(sent)
    run.wait(timeout=60)
    _, alive = psutil.wait_procs(family, timeout=10)
    assert alive == []
    suite.runpytest_subprocess("--tvm-strict", "--tvm-update-new").assert_outcomes(passed=1)


@pytest.mark.parametrize("method", ["signal", pytest.param("thread", marks=pytest.mark.slow)])
def test_a_time_out_of_the_test_stops_its_tuning(suite: pytest.Pytester, method: str) -> None:
    suite.makepyfile(test_it=SUITE.replace("trials=4", "trials=400"))
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "--timeout=12"]
    run = subprocess.Popen(
        [*command, f"--timeout-method={method}"],
        cwd=suite.path,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    family = family_while_tuning(run)
    out, _ = run.communicate(timeout=60)
    assert run.returncode == 1
    assert "Timeout" in out
    _, alive = psutil.wait_procs(family, timeout=10)
    assert alive == []
    records = "".join(p.read_text() for p in (suite.path / ".tvmtune").rglob("*.jsonl"))
    assert '"kind": "record"' in records
    assert '"complete": true' not in records
