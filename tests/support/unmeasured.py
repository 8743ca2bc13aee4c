"""Fixtures: where coverage costs more than it tells."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
from coverage import Coverage

__all__ = ["unmeasured_here", "unmeasured_jobs"]


@pytest.fixture(scope="module", autouse=True)
def unmeasured_jobs() -> Iterator[None]:
    """Start jobs without coverage, which would trace all that TVM does as it is imported."""
    with pytest.MonkeyPatch.context() as patched:
        for name in [name for name in os.environ if name.startswith("COVERAGE_PROCESS")]:
            patched.delenv(name)
        yield


@pytest.fixture(scope="module")
def unmeasured_here() -> Iterator[None]:
    """Run a module's tests without coverage: the same lines, millions of times."""
    current = Coverage.current()
    if current is not None:
        current.stop()
    yield
    if current is not None:
        current.start()
