"""A folder for a suite, cut off from the settings of whoever runs the tests."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support import WITHOUT_TORCH
from tests.support.forked_pytest import Forker
from tests.support.locks import cores_of_the_machine, cores_of_this_worker  # noqa: F401


@pytest.fixture(scope="session")
def forker() -> Iterator[Forker]:
    forker = Forker()
    yield forker
    forker.end()


@pytest.fixture
def suite(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, forker: Forker
) -> pytest.Pytester:
    for name in ("TVM_TEST_TARGETS", "PYTEST_ADDOPTS", "TVM_NUM_THREADS", "CI", "GITHUB_ACTIONS"):
        monkeypatch.delenv(name, raising=False)
    # By these pytest-benchmark would take a suite for a worker of whoever runs the tests.
    for name in ("PYTEST_XDIST_WORKER", "PYTEST_XDIST_WORKER_COUNT"):
        monkeypatch.delenv(name, raising=False)
    # What needs torch takes it away again.
    monkeypatch.setenv("PYTHONPATH", str(WITHOUT_TORCH))
    pytester.makeini("[pytest]\n")
    start_interpreter = pytester.popen

    def popen(command: Any, **files: Any) -> Any:
        path = os.environ.get("PYTHONPATH", "")
        # What is added to it may be there to stand in the way of what a fork has loaded already.
        if command[:2] != (sys.executable, "-mpytest") or path != str(WITHOUT_TORCH):
            return start_interpreter(command, **files)
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(Path.cwd()), path])}
        return forker.popen(command, environment, files["stdout"].name, files["stderr"].name)

    monkeypatch.setattr(pytester, "popen", popen)
    return pytester
