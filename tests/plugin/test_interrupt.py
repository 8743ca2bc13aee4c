"""A run that is stopped while it tunes: no process is left, and the next run goes on."""

from __future__ import annotations

import signal
import subprocess
import sys
import time

import psutil
import pytest
from snippets import TINY

SUITE = (
    TINY
    + """
@pytest.mark.tvm_tune(trials=4)
def test_tiny(tvm_tune):
    run = tvm_tune(Tiny(), **GIVEN)
    run.check(EXPECTED)
    assert [task.state for task in run.tasks] == ["tuned", "tuned"]
"""
)


def family_while_tuning(run: subprocess.Popen[bytes]) -> list[psutil.Process]:
    """Return all descendants of a run once its tuner has processes of its own."""
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        family = psutil.Process(run.pid).children(recursive=True)
        if len(family) >= 3:  # the tuner, MetaSchedule's runner, the builder's forkserver
            return family
        time.sleep(0.05)
    raise AssertionError("the tuner never started")


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
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
