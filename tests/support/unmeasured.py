"""Fixture: coverage is not measured in the processes that tests start."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

__all__ = ["unmeasured_jobs"]


@pytest.fixture(scope="module", autouse=True)
def unmeasured_jobs() -> Iterator[None]:
    """Start jobs without coverage, which would trace all that TVM does as it is imported."""
    with pytest.MonkeyPatch.context() as patched:
        for name in [name for name in os.environ if name.startswith("COVERAGE_PROCESS")]:
            patched.delenv(name)
        yield
