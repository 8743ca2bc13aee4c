"""Processes that stay: answers, crashes, hangs, and their end."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from pytest_tvmtune.core.errors import ChildError, EnvironmentProblemError, ModelError
from pytest_tvmtune.core.job_stage import JobStage
from pytest_tvmtune.processes.interpreters import import_path
from pytest_tvmtune.processes.job import OtherInterpreter
from pytest_tvmtune.processes.resident_process import (
    ResidentContext,
    ResidentProcess,
    start_resident,
)

STAGE = JobStage("counting")


@dataclass(frozen=True, kw_only=True)
class Text:
    text: str


class Counter:
    """What the process has an object of."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.answered = 0

    def count(self, request: Text) -> Text:
        print("noise that is no answer", flush=True)
        self.answered += 1
        return Text(text=f"{request.text} {self.answered} {self.folder.is_dir()}")

    def fail(self, request: Text) -> Text:
        if request.text == "on purpose":
            raise ModelError("the model is empty")
        raise KeyError(request.text)

    def crash(self, request: Text) -> Text:
        os.kill(os.getpid(), signal.SIGSEGV)
        return request

    def leave(self, request: Text) -> Text:
        os._exit(3)

    def hang(self, request: Text) -> Text:
        time.sleep(60)
        return request


def context(tmp_path: Path, python: Path = Path(sys.executable)) -> ResidentContext:
    return ResidentContext(
        side="the new side",
        interpreter=OtherInterpreter(python=python, path=tuple(import_path())),
        scratch=tmp_path / "scratch",
        log_path=tmp_path / "side.log",
        num_threads=1,
        timeout_s=20.0,
    )


@pytest.fixture
def process(tmp_path: Path) -> Iterator[ResidentProcess]:
    started = start_resident(Counter, context(tmp_path))
    yield started
    started.end()


def test_it_answers_and_is_stopped_in_between(process: ResidentProcess, tmp_path: Path) -> None:
    assert process.ask(Counter.count, Text(text="a"), STAGE) == Text(text="a 1 True")
    assert process.ask(Counter.count, Text(text="b"), STAGE) == Text(text="b 2 True")
    assert "noise that is no answer" in (tmp_path / "side.log").read_text()
    status = Path(f"/proc/{process.process.pid}/stat")
    if status.exists():
        deadline = time.monotonic() + 10
        while status.read_text().rpartition(")")[2].split()[0] != "T":
            assert time.monotonic() < deadline, "it still runs"
    process.end()
    assert process.process.returncode == -signal.SIGKILL
    assert list((tmp_path / "scratch").iterdir()) == []


def test_errors_keep_their_type_and_the_process_goes_on(process: ResidentProcess) -> None:
    with pytest.raises(ModelError, match="the new side: the model is empty"):
        process.ask(Counter.fail, Text(text="on purpose"), STAGE)
    with pytest.raises(ChildError, match="the new side: counting: KeyError"):
        process.ask(Counter.fail, Text(text="by accident"), STAGE)
    assert process.ask(Counter.count, Text(text="a"), STAGE).text == "a 1 True"


def test_a_crash_is_named(process: ResidentProcess) -> None:
    with pytest.raises(ChildError, match="the new side: counting: crashed with SIGSEGV") as caught:
        process.ask(Counter.crash, Text(text=""), STAGE)
    assert caught.value.cause == "SIGSEGV"
    with pytest.raises(ChildError, match="crashed with SIGSEGV"):
        process.ask(Counter.count, Text(text=""), STAGE)


def test_an_exit_is_named(process: ResidentProcess) -> None:
    with pytest.raises(ChildError, match="the new side: counting: ended with exit code 3"):
        process.ask(Counter.leave, Text(text=""), STAGE)


def test_a_hang_is_stopped(tmp_path: Path) -> None:
    process = start_resident(Counter, replace(context(tmp_path), timeout_s=8.0))
    try:
        process.ask(Counter.count, Text(text="a"), STAGE)
        process.context = replace(process.context, timeout_s=0.5)
        with pytest.raises(ChildError, match=r"no answer within 0\.5 s") as caught:
            process.ask(Counter.hang, Text(text=""), STAGE)
        assert caught.value.cause == "time-out"
    finally:
        process.end()
    assert process.process.returncode == -signal.SIGKILL


def test_an_interpreter_that_does_not_exist(tmp_path: Path) -> None:
    with pytest.raises(EnvironmentProblemError, match="can't start the interpreter"):
        start_resident(Counter, context(tmp_path, tmp_path / "no-python"))
    assert list((tmp_path / "scratch").iterdir()) == []
