"""Child processes that crash, hang, fail and lose their parent, all for real."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest

from pytest_tvmtune.core.errors import ChildError, ModelError, StoreError


def gone(pid: int) -> bool:
    """Whether a process has ended within 10 s; a zombie has."""
    for _ in range(200):
        if not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE:
            return True
        time.sleep(0.05)
    return False


def test_request_arrays_and_threads_arrive(job: Any, tmp_path: Path) -> None:
    values = [np.arange(4.0), np.array(2.0)]
    answer = job("echo", text="hello", arrays={"arrays": values})
    assert answer == {"sum": 8.0, "threads": "3", "text": "hello"}
    assert list((tmp_path / "tmp").iterdir()) == []


def test_a_request_that_cannot_be_written_is_told(job: Any, tmp_path: Path) -> None:
    (tmp_path / "tmp").write_text("no folder")
    with pytest.raises(StoreError, match=f"can't start a job in {tmp_path / 'tmp'}: File exists"):
        job("echo")


def test_a_crash_names_stage_signal_and_log(job: Any, tmp_path: Path) -> None:
    with pytest.raises(ChildError, match=r"walking off the end: crashed with SIGSEGV") as caught:
        job("segfault")
    assert caught.value.log_path == tmp_path / "job.log"
    assert "last words" in (tmp_path / "job.log").read_text()


def test_a_time_out_takes_the_grandchildren_along(job: Any, tmp_path: Path) -> None:
    pid_file = tmp_path / "pids"
    with pytest.raises(ChildError, match="going round in circles: no answer within 5 s"):
        job("hang_with_a_grandchild", timeout_s=5.0, pid_file=str(pid_file))
    assert all(gone(int(pid)) for pid in pid_file.read_text().split())


def test_our_own_errors_arrive_as_they_are(job: Any) -> None:
    with pytest.raises(ModelError, match=r"^no soup, please\nlog: .*job.log$"):
        job("refuse", text="soup")


def test_other_errors_are_told_with_the_log(job: Any, tmp_path: Path) -> None:
    with pytest.raises(ChildError, match="KeyError: 'surprise'"):
        job("stumble")
    assert "Traceback" in (tmp_path / "job.log").read_text()


def test_an_early_exit_is_no_answer(job: Any) -> None:
    with pytest.raises(ChildError, match="ended with exit code 3: so long"):
        job("leave")
