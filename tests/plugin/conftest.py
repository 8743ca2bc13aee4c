"""A folder for a suite, cut off from the settings of whoever runs the tests."""

from __future__ import annotations

import pytest


@pytest.fixture
def suite(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> pytest.Pytester:
    for name in ("TVM_TEST_TARGETS", "PYTEST_ADDOPTS", "TVM_NUM_THREADS", "CI"):
        monkeypatch.delenv(name, raising=False)
    pytester.makeini("[pytest]\n")
    return pytester
