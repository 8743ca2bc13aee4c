"""The models of tests/stages are for the tests of measuring too; and jobs in child processes."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

sys.path.append(str(Path(__file__).parents[1] / "stages"))


@pytest.fixture
def job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Return job(name of a function in jobs.py, fresh=, timeout_s=, arrays=, **request)."""
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent))

    def start(
        name: str,
        *,
        fresh: bool = False,
        timeout_s: float = 60.0,
        arrays: Any = None,
        **request: Any,
    ) -> Any:
        from pytest_tvmtune.processes.jobs import run_job

        return run_job(
            f"jobs:{name}",
            request,
            scratch=tmp_path / "tmp",
            log_path=tmp_path / "job.log",
            timeout_s=timeout_s,
            num_threads=3,
            arrays=arrays,
            fresh=fresh,
        )

    return start
