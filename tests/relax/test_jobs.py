"""Child processes that crash, hang, fail and lose their parent, all for real."""

from __future__ import annotations

import contextlib
import os
import re
import socket
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest

from pytest_tvmtune.core.errors import (
    ChildError,
    EnvironmentProblemError,
    ModelError,
    StoreError,
    UnsupportedOperatorError,
)
from pytest_tvmtune.core.job_stage import JobStage
from pytest_tvmtune.processes.job import Where
from pytest_tvmtune.processes.job_processes import end_servers
from tests.relax.jobs import Row

WHERE: tuple[Where, ...] = ("forked", "new interpreter")


@pytest.fixture(scope="module", autouse=True)
def preloaded_jobs() -> None:
    """Start real interpreters here: how they begin and end is what is tested."""


def gone(pid: int) -> bool:
    """Whether a process has ended within 10 s; a zombie has."""
    for _ in range(200):
        if not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE:
            return True
        time.sleep(0.05)
    return False


def test_request_arrays_and_threads_arrive(job: Any, tmp_path: Path) -> None:
    values = [np.arange(4.0), np.array(2.0)]
    answer = job("echo", text="hello", arrays=values)
    assert (answer.sum, answer.threads, answer.text) == (8.0, "3", "hello")
    for value, doubled in zip(values, answer.arrays, strict=True):
        np.testing.assert_array_equal(doubled, 2 * value)
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
        job("hang_with_a_grandchild", timeout_s=5.0, pid_file=pid_file)
    assert all(gone(int(pid)) for pid in pid_file.read_text().split())


def test_our_own_errors_arrive_as_they_are(job: Any) -> None:
    with pytest.raises(ModelError, match=r"^no soup, please\nlog: .*job.log$"):
        job("refuse", text="soup")


def test_our_own_errors_keep_their_fields(job: Any) -> None:
    with pytest.raises(UnsupportedOperatorError, match=r"^odd\nlog: .*job.log$") as caught:
        job("refuse_with_facts", text="LRN")
    assert caught.value.operators == {"LRN": 2}
    with pytest.raises(ChildError) as gone:
        job("refuse_with_facts")
    assert (gone.value.stage, gone.value.cause) == (JobStage("at work"), "SIGSEGV")
    assert gone.value.log_path == Path("/some/log")


def test_a_result_of_another_type_than_was_promised_is_no_answer(job: Any) -> None:
    with pytest.raises(
        ChildError, match="TypeError: a job can't send or receive an object of type object"
    ):
        job("answer_wrongly")


@pytest.mark.parametrize(("how", "cause"), [("", ""), ("crash", "SIGKILL"), ("hang", "time-out")])
def test_what_a_job_reports_last_arrives_however_it_ends(job: Any, how: str, cause: str) -> None:
    rows: list[Row] = []
    with pytest.raises(ChildError) if how else contextlib.nullcontext() as caught:
        job("report", text=how, timeout_s=1.0 if how == "hang" else 60.0, on_progress=rows.append)
    assert [row.number for row in rows] == [0, 1, 2, 3][: 4 if how == "hang" else 3]
    assert [row.best_s for row in rows][:2] == [0.5, None]
    assert caught is None or caught.value.cause == cause


def test_a_job_may_run_in_another_environment(job: Any, tmp_path: Path) -> None:
    """It imports from there, where this package is, and nothing from here."""
    subprocess.run(
        [sys.executable, "-m", "venv", "--without-pip", str(tmp_path / "other")], check=True
    )
    (packages,) = (tmp_path / "other" / "lib").glob("python*/site-packages")
    here = [path for path in sys.path if path.endswith("site-packages")]
    paths = [str(Path(__file__).parents[2]), *here]
    (packages / "those_of_the_other.pth").write_text("\n".join(paths))
    interpreter = tmp_path / "other" / "bin" / "python"
    seen = job("where", where=interpreter)
    assert seen.prefix == tmp_path / "other" != Path(sys.prefix)
    assert packages in seen.path
    assert seen.parent == os.getpid()
    echoed = job("echo", where=interpreter, arrays=[np.arange(3.0)])
    assert echoed.arrays[0].tolist() == [0.0, 2.0, 4.0]
    with pytest.raises(ModelError, match="no soup, please"):
        job("refuse", where=interpreter, text="soup")
    gone = tmp_path / "gone" / "python"
    with pytest.raises(EnvironmentProblemError, match=f"can't start the interpreter {gone}: No"):
        job("where", where=gone)


def test_other_errors_are_told_with_the_log(job: Any, tmp_path: Path) -> None:
    with pytest.raises(ChildError, match="KeyError: 'surprise'"):
        job("stumble")
    assert "Traceback" in (tmp_path / "job.log").read_text()


def test_an_early_exit_is_no_answer(job: Any) -> None:
    with pytest.raises(ChildError, match="ended with exit code 3: so long"):
        job("leave")


@pytest.mark.parametrize("where", WHERE)
def test_temporary_files_of_a_job_go_with_it_and_the_locks_stay_the_machines(
    job: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: Where
) -> None:
    machine = tmp_path / "machine"
    machine.mkdir()
    monkeypatch.delenv("TVMTUNE_LOCKS")
    monkeypatch.setattr(tempfile, "tempdir", str(machine))
    answer = job("leave_a_file", where=where)
    assert answer.left.is_relative_to(answer.folder)
    assert answer.left.is_relative_to(answer.variable)
    assert answer.locks == machine
    assert list(machine.iterdir()) == list((tmp_path / "tmp").iterdir()) == []
    # The next one has a folder of its own.
    assert job("leave_a_file", where=where).variable != answer.variable


@pytest.mark.timeout(120)
@pytest.mark.parametrize("where", WHERE)
def test_a_job_times_out_where_a_test_has_frozen_time(
    job: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: Where
) -> None:
    """As freezegun does it: in every module that holds one of these functions."""
    job("where")
    for name in ("time", "monotonic", "perf_counter"):
        real = getattr(time, name)
        for module in list(sys.modules.values()):
            held = [key for key, value in vars(module).items() if value is real]
            for key in held if module.__name__.partition(".")[0] != "threading" else ():
                monkeypatch.setattr(module, key, lambda: 1_580_000_000.0)
    assert time.monotonic() == subprocess._time() == 1_580_000_000  # type: ignore[attr-defined]
    with pytest.raises(ChildError, match="going round in circles: no answer within 3 s"):
        job("hang_with_a_grandchild", where=where, timeout_s=3.0, pid_file=tmp_path / "pids")


class GuardedSocket(socket.socket):
    """What pytest-socket puts in the place of socket.socket."""

    def __new__(cls, *_: Any, **__: Any) -> Any:
        raise RuntimeError("A test tried to use socket.socket.")


@pytest.mark.parametrize("where", WHERE)
def test_jobs_need_no_socket_that_is_blocked(
    job: Any, monkeypatch: pytest.MonkeyPatch, where: Where
) -> None:
    end_servers()
    monkeypatch.setattr(socket, "socket", GuardedSocket)
    with pytest.raises(RuntimeError, match="tried to use"):
        socket.socket()
    assert (job("where", where=where).parent != os.getpid()) == (where == "forked")


@pytest.mark.parametrize(
    ("interpreter", "told"),
    [("{}/gone/python", "can't start this Python's interpreter .*/gone/python: No such file"),
     ("{}/locked", "can't start this Python's interpreter .*/locked: Permission denied"),
     ("", "sys.executable is '', so this Python's interpreter is not known; models are compiled"),
     (None, "sys.executable is None, so this Python's interpreter is not known; models")],
)  # fmt: skip
def test_an_interpreter_that_cannot_be_started_is_named(
    job: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    interpreter: str | None,
    told: str,
) -> None:
    end_servers()
    (tmp_path / "locked").write_text("not executable")
    path = interpreter and interpreter.format(tmp_path)
    monkeypatch.setattr(sys, "executable", path)
    for where in WHERE:
        with pytest.raises(EnvironmentProblemError, match=told):
            job("echo", where=where)
    assert list((tmp_path / "tmp").iterdir()) == []


def test_threads_may_start_jobs_at_once(job: Any) -> None:
    end_servers()
    with ThreadPoolExecutor(4) as pool:
        seen = list(pool.map(lambda _: job("where"), range(8)))
    assert len({one.pid for one in seen}) == 8
    assert len({one.parent for one in seen}) == 1


def test_each_job_has_a_heading_in_the_log(job: Any, tmp_path: Path) -> None:
    for _ in range(2):
        with pytest.raises(ChildError):
            job("segfault")
    first, second = (tmp_path / "job.log").read_text().split("\n=== ")[1:]
    here = f"{Path(__file__).name}::test_each_job_has_a_heading_in_the_log"
    for part in (first, second):
        assert re.match(rf"\d{{4}}-\d\d-\d\dT\d\d:\d\d:\d\dZ \S+:segfault .*{here}", part)
        assert part.count("last words") == 1
