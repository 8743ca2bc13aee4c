"""Locks between real processes: who waits for whom, and what a kill or Ctrl-C does."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import pytest

from pytest_tvmtune.store.locks import (
    exclusive_cores,
    folder_lock,
    path_lock,
    shared_cores,
    try_lock,
)

# Each says "held" once it holds, and holds until its input ends.
CLAIM = """
import sys
from pathlib import Path
from pytest_tvmtune.store.locks import try_lock
lock = try_lock(Path(sys.argv[1]))
print("held" if lock else "taken", flush=True)
sys.stdin.read()
"""
CORES = """
import signal, sys
# Whoever runs the tests in the background may have it ignored.
signal.signal(signal.SIGINT, signal.default_int_handler)
from pytest_tvmtune.store.locks import {name}
print("waiting", flush=True)
try:
    with {name}():
        print("held", flush=True)
        sys.stdin.read()
except KeyboardInterrupt:
    print("interrupted", flush=True)
"""
SHARED, EXCLUSIVE = (CORES.format(name=name) for name in ("shared_cores", "exclusive_cores"))
# How long a holder must be missed before it counts as kept out: longer than one piece of waiting.
KEPT_OUT_S = 0.7


class Holder:
    """A process that holds a lock, or waits for it."""

    def __init__(self, folder: Path, code: str, *arguments: str) -> None:
        # The cores' lock stands in the temporary folder: never the machine's own here.
        self.process = subprocess.Popen(
            [sys.executable, "-c", code, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, "TMPDIR": str(folder)},
        )
        assert self.process.stdout is not None
        os.set_blocking(self.process.stdout.fileno(), False)
        self.said = b""

    def says(self, word: str, within_s: float = 30.0) -> bool:
        """Whether it says the word in time."""
        assert self.process.stdout is not None
        end = time.monotonic() + within_s
        while time.monotonic() < end:
            self.said += self.process.stdout.read() or b""
            if word.encode() in self.said.split():
                return True
            time.sleep(0.02)
        return False

    def end(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()
        assert self.process.wait(30) == 0

    def kill(self) -> None:
        with self.process:  # closes its pipes
            self.process.kill()


Start = Callable[..., Holder]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    with ExitStack() as stack:

        def started(code: str, *arguments: str) -> Holder:
            holder = Holder(tmp_path, code, *arguments)
            stack.callback(holder.kill)
            return holder

        yield started


def test_a_claim_excludes_other_processes_until_it_is_released(
    start: Start, tmp_path: Path
) -> None:
    path = tmp_path / "locks" / "one.lock"
    lock = try_lock(path)
    assert lock is not None
    assert start(CLAIM, str(path)).says("taken")
    assert start(CLAIM, str(path.with_name("other.lock"))).says("held")
    lock.release()
    holder = start(CLAIM, str(path))
    assert holder.says("held")
    assert try_lock(path) is None
    holder.end()
    lock = try_lock(path)
    assert lock is not None
    lock.release()


def test_a_claim_is_free_when_its_holder_is_killed(start: Start, tmp_path: Path) -> None:
    path = tmp_path / "one.lock"
    holder = start(CLAIM, str(path))
    assert holder.says("held")
    assert try_lock(path) is None
    holder.kill()
    lock = try_lock(path)
    assert lock is not None
    lock.release()


def test_a_claim_excludes_this_process_too(tmp_path: Path) -> None:
    # Two cases of one run may ask for the same workload.
    lock = try_lock(tmp_path / "one.lock")
    assert lock is not None
    assert try_lock(tmp_path / "one.lock") is None
    lock.release()


def test_readers_share_the_cores_and_keep_a_writer_out(start: Start) -> None:
    readers = [start(SHARED), start(SHARED)]
    assert all(reader.says("held") for reader in readers)
    writer = start(EXCLUSIVE)
    assert writer.says("waiting")
    assert not writer.says("held", KEPT_OUT_S)
    readers[0].end()
    assert not writer.says("held", KEPT_OUT_S)
    readers[1].end()
    assert writer.says("held")


def test_a_writer_keeps_readers_and_writers_out(start: Start) -> None:
    writer = start(EXCLUSIVE)
    assert writer.says("held")
    others = [start(SHARED), start(EXCLUSIVE)]
    assert all(other.says("waiting") for other in others)
    assert not any(other.says("held", KEPT_OUT_S) for other in others)
    writer.end()
    end = time.monotonic() + 30
    first: list[Holder] = []
    while not first and time.monotonic() < end:
        first = [other for other in others if other.says("held", 0.1)]
    assert len(first) == 1
    first[0].end()
    assert all(other.says("held") for other in others)


@pytest.mark.parametrize(("held", "waiting"), [(EXCLUSIVE, SHARED), (SHARED, EXCLUSIVE)])
def test_the_cores_are_free_when_their_holder_is_killed(
    start: Start, held: str, waiting: str
) -> None:
    holder = start(held)
    assert holder.says("held")
    other = start(waiting)
    assert other.says("waiting")
    assert not other.says("held", KEPT_OUT_S)
    holder.kill()
    assert other.says("held")


@pytest.mark.parametrize("waiting", [SHARED, EXCLUSIVE])
def test_ctrl_c_is_heard_while_waiting_for_the_cores(start: Start, waiting: str) -> None:
    holder = start(EXCLUSIVE)
    assert holder.says("held")
    other = start(waiting)
    assert other.says("waiting")
    assert not other.says("held", KEPT_OUT_S)
    other.process.send_signal(signal.SIGINT)
    if not other.says("interrupted", 2.0):
        # Python swallows what comes while a __del__ runs; people press the keys again.
        other.process.send_signal(signal.SIGINT)
        assert other.says("interrupted", 2.0)
    # It left nothing held behind, and the holder goes on.
    holder.end()
    assert start(EXCLUSIVE).says("held")


def test_ctrl_c_while_holding_gives_the_cores_back(start: Start) -> None:
    holder = start(EXCLUSIVE)
    assert holder.says("held")
    holder.process.send_signal(signal.SIGINT)
    assert holder.says("interrupted", 10.0)
    assert start(EXCLUSIVE).says("held")


def test_the_cores_lock_is_this_users_own_in_the_temporary_folder(
    start: Start, tmp_path: Path
) -> None:
    holder = start(SHARED)
    assert holder.says("held")
    assert (tmp_path / f"pytest-tvmtune-{os.getuid()}-cores.db").is_file()


def test_the_lock_of_a_users_folder_leaves_nothing_in_it(tmp_path: Path) -> None:
    folder = tmp_path / "work_dir"
    folder.mkdir()
    with path_lock(folder), path_lock(tmp_path):
        assert list(folder.iterdir()) == []
    # One folder, however it is written.
    assert path_lock(folder).lock_file == path_lock(tmp_path / "x" / ".." / "work_dir").lock_file


def test_a_folders_lock_makes_the_folder(tmp_path: Path) -> None:
    with folder_lock(tmp_path / "a" / "b"):
        assert (tmp_path / "a" / "b").is_dir()


def test_threads_share_the_cores_and_wait_for_one_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A test may call `tvm_tune` in several threads."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    held: list[str] = []
    both = threading.Barrier(2, timeout=20)

    def share(_: int) -> None:
        with shared_cores():
            both.wait()  # both hold it at once
            held.append("shared")

    def alone(_: int) -> None:
        with exclusive_cores():
            held.append("begin")
            time.sleep(0.1)
            held.append("end")

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(share, range(2)))
        assert held == ["shared"] * 2
        list(pool.map(alone, range(3)))
    assert held[2:] == ["begin", "end"] * 3
