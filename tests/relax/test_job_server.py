"""The server that forks jobs: what a fork is given, and what happens when the server dies."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path
from typing import Any

import psutil
import pytest

from pytest_tvmtune.core.errors import ChildError
from pytest_tvmtune.processes.job import Where
from tests.support import ROOT


@pytest.fixture(scope="module", autouse=True)
def preloaded_jobs() -> None:
    """Start real interpreters here: how they begin and end is what is tested."""


def test_jobs_are_forked_from_one_server_unless_fresh(
    job: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = job("where", variables=["PYTEST_WORD", "TVM_NUM_THREADS"])
    assert first.has_tvm
    assert not first.has_torch
    assert first.folder_is_cwd
    assert first.variables == {"PYTEST_WORD": None, "TVM_NUM_THREADS": "3"}
    monkeypatch.setenv("PYTEST_WORD", "now")
    second = job("where", variables=["PYTEST_WORD"])
    assert second.variables == {"PYTEST_WORD": "now"}
    assert second.pid != first.pid
    assert second.parent == first.parent != os.getpid()
    fresh = job("where", where="new interpreter", variables=["PYTEST_WORD"])
    assert fresh.variables == {"PYTEST_WORD": "now"}
    assert fresh.folder_is_cwd
    assert not fresh.has_tvm
    assert fresh.parent == os.getpid()


@pytest.mark.parametrize("where", ["forked", "new interpreter"])
def test_a_job_imports_from_where_its_parent_does(
    job: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, where: Where
) -> None:
    """In the same order, whatever is in a name; and nothing from the folder it works in."""
    job("where")  # the server began without these
    odd = tmp_path / "it's: an 'odd'\n\u00fc \udcff folder"
    monkeypatch.setattr(sys, "path", ["", str(odd), *sys.path, "relative", Path("no string")])
    told = [str(one) for one in job("where", where=where).path]
    here = [str(Path.cwd()), str(odd), *map(os.path.abspath, sys.path[2:-2])]
    assert told == [*here, str(Path.cwd() / "relative")]
    library = [Path(one).resolve() for one in told].index(Path(os.__file__).resolve().parent)
    installed = [n for n, one in enumerate(told) if one.endswith("site-packages")]
    assert installed
    assert library < min(installed)


def test_another_variable_begins_another_server(job: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    before = job("where", variables=["SOME_LIBRARY_READS_IT"])
    monkeypatch.setenv("SOME_LIBRARY_READS_IT", "at its import")
    after = job("where", variables=["SOME_LIBRARY_READS_IT"])
    assert after.variables == {"SOME_LIBRARY_READS_IT": "at its import"}
    assert after.parent != before.parent
    assert not psutil.pid_exists(before.parent)


def test_a_server_that_is_killed_costs_one_job(job: Any) -> None:
    with pytest.raises(ChildError, match="sawing off the branch: crashed with SIGKILL"):
        job("kill_the_parent")
    assert job("where").parent != os.getpid()
    server = job("where").parent
    os.kill(server, signal.SIGKILL)  # between two jobs: the next one doesn't notice
    assert job("where").parent != server


def test_where_tvm_cannot_be_imported_the_job_itself_says_why(
    job: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = tmp_path / "broken"
    broken.mkdir()
    (broken / "tvm.py").write_text("raise SystemExit('no such luck')")
    monkeypatch.setenv("PYTHONPATH", str(broken))  # another server is begun
    monkeypatch.syspath_prepend(broken)
    for _ in range(2):
        assert job("where").parent == os.getpid()


@pytest.mark.skipif(sys.platform != "linux", reason="PR_SET_PDEATHSIG is Linux's")
def test_server_and_jobs_die_with_the_process_that_wanted_them(tmp_path: Path) -> None:
    pid_file = tmp_path / "pids"
    script = textwrap.dedent(
        f"""
        from pathlib import Path
        from tests.relax import jobs
        from pytest_tvmtune.processes.job import Job, JobContext
        from pytest_tvmtune.processes.run_job import run_job
        context = JobContext(scratch=Path({str(tmp_path)!r}), timeout_s=300, num_threads=1,
                             log_path=Path({str(tmp_path / "log")!r}))
        request = jobs.Request(pid_file=Path({str(pid_file)!r}))
        run_job(Job(run=jobs.hang_with_a_grandchild), request, context)
        """
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    parent = subprocess.Popen([sys.executable, "-c", script], env=environment)
    while not (pid_file.is_file() and pid_file.read_text()):
        assert parent.poll() is None
        time.sleep(0.05)
    job, grandchild = map(int, pid_file.read_text().split())
    mine = [psutil.Process(job), psutil.Process(job).parent()]
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    try:
        gone, alive = psutil.wait_procs([one for one in mine if one], timeout=10)
        assert (len(gone), alive) == (2, [])
    finally:
        os.kill(grandchild, signal.SIGKILL)
