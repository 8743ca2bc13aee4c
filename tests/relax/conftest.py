"""Jobs in child processes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.relax.tuner_runs import tune  # noqa: F401
from tests.support import IMPORTABLE
from tests.support.locks import cores_of_the_machine, cores_of_this_worker  # noqa: F401
from tests.support.preloaded_python import preloaded_jobs, preloaded_python  # noqa: F401
from tests.support.unmeasured import unmeasured_jobs  # noqa: F401


@pytest.fixture
def job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Return job(name of a function in jobs.py, where=, timeout_s=, on_progress=, **request)."""
    monkeypatch.setenv("PYTHONPATH", IMPORTABLE)

    def start(
        name: str,
        *,
        where: Any = "forked",
        timeout_s: float = 60.0,
        on_progress: Any = lambda _: None,
        **request: Any,
    ) -> Any:
        from pytest_tvmtune.processes.job import Job, JobContext
        from pytest_tvmtune.processes.run_job import run_job
        from tests.relax import jobs

        context = JobContext(
            scratch=tmp_path / "tmp",
            log_path=tmp_path / "job.log",
            timeout_s=timeout_s,
            num_threads=3,
            where=where,
        )
        return run_job(Job(run=getattr(jobs, name)), jobs.Request(**request), context, on_progress)

    return start
