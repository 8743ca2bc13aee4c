"""A folder for a suite, cut off from the settings of whoever runs the tests."""

from __future__ import annotations

import os
import sys
from typing import Any

import pytest

from pytest_tvmtune.core.settings.rpc_address import TRACKER_VARIABLES
from tests.support import WITHOUT_TORCH
from tests.support.locks import cores_of_the_machine, cores_of_this_worker  # noqa: F401
from tests.support.preloaded_python import USABLE_CORES, PreloadedPython, preloaded_python  # noqa: F401


@pytest.fixture
def suite(
    pytester: pytest.Pytester,
    monkeypatch: pytest.MonkeyPatch,
    preloaded_python: PreloadedPython,  # noqa: F811
) -> pytest.Pytester:
    for name in ("TVM_TEST_TARGETS", "PYTEST_ADDOPTS", "TVM_NUM_THREADS", "CI", "GITHUB_ACTIONS"):
        monkeypatch.delenv(name, raising=False)
    for name in TRACKER_VARIABLES:
        monkeypatch.delenv(name, raising=False)
    # By these pytest-benchmark would take a suite for a worker of whoever runs the tests.
    for name in ("PYTEST_XDIST_WORKER", "PYTEST_XDIST_WORKER_COUNT"):
        monkeypatch.delenv(name, raising=False)
    # What needs torch takes it away again.
    monkeypatch.setenv("PYTHONPATH", str(WITHOUT_TORCH))
    pytester.makeini("[pytest]\n")
    os.sched_setaffinity(0, USABLE_CORES)
    start = pytester.popen

    def popen(command: Any, **files: Any) -> Any:
        if command[0] == sys.executable:
            command = (str(preloaded_python.path), *command[1:])
        return start(command, **files)

    monkeypatch.setattr(pytester, "popen", popen)
    return pytester
