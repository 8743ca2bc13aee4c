"""A folder for a suite, cut off from the settings of whoever runs the tests."""

from __future__ import annotations

from pathlib import Path

import pytest

WITHOUT_TORCH = Path(__file__).with_name("without_torch")


@pytest.fixture
def suite(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> pytest.Pytester:
    for name in ("TVM_TEST_TARGETS", "PYTEST_ADDOPTS", "TVM_NUM_THREADS", "CI", "GITHUB_ACTIONS"):
        monkeypatch.delenv(name, raising=False)
    # By these pytest-benchmark would take a suite for a worker of whoever runs the tests.
    for name in ("PYTEST_XDIST_WORKER", "PYTEST_XDIST_WORKER_COUNT"):
        monkeypatch.delenv(name, raising=False)
    # What needs torch takes it away again.
    monkeypatch.setenv("PYTHONPATH", str(WITHOUT_TORCH))
    pytester.makeini("[pytest]\n")
    return pytester
