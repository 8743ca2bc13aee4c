"""Whole files only, whatever happens meanwhile."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from pytest_tvmtune.core.errors import StoreError
from pytest_tvmtune.store.atomic_files import set_aside, write_bytes, write_json, write_text

SIZE = 300_000


def test_a_file_and_the_folders_above_it(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b" / "c.txt"
    write_text(path, "grüße\n")
    assert path.read_bytes() == "grüße\n".encode()
    write_bytes(path, b"")
    assert path.read_bytes() == b""
    assert [p.name for p in path.parent.iterdir()] == ["c.txt"]


def test_json_is_sorted_and_ends_its_line(tmp_path: Path) -> None:
    write_json(tmp_path / "x.json", {"b": [1, None], "a": "ü"})
    text = (tmp_path / "x.json").read_text()
    assert json.loads(text) == {"a": "ü", "b": [1, None]}
    assert text.index('"a"') < text.index('"b"')
    assert text.endswith("}\n")


WRITER = f"""
import sys
from pathlib import Path
from pytest_tvmtune.store.atomic_files import write_bytes
for number in range(1_000_000):
    write_bytes(Path(sys.argv[1]), (b"A" if number % 2 else b"B") * {SIZE})
"""


def test_a_reader_sees_the_old_file_or_the_whole_new_one(tmp_path: Path) -> None:
    path = tmp_path / "file"
    writer = subprocess.Popen([sys.executable, "-c", WRITER, str(path)])
    seen: set[bytes] = set()
    reads = 0
    try:
        end = time.monotonic() + 30
        while not path.exists():
            assert time.monotonic() < end
            assert writer.poll() is None
        end = time.monotonic() + 30
        while (len(seen) < 2 or reads < 1000) and time.monotonic() < end:
            content = path.read_bytes()
            assert len(content) == SIZE
            assert content == content[:1] * SIZE
            seen.add(content[:1])
            reads += 1
    finally:
        writer.kill()
        writer.wait()
    assert seen == {b"A", b"B"}


FULL_DISK = """
import resource, sys
from pathlib import Path
from pytest_tvmtune.core.errors import StoreError
from pytest_tvmtune.store.atomic_files import write_bytes
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
try:
    write_bytes(Path(sys.argv[1]), b"x" * 5000)
except StoreError as error:
    print(error)
"""


def test_when_the_file_can_not_grow_the_old_one_stays_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("old")
    done = subprocess.run(
        [sys.executable, "-c", FULL_DISK, str(path)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"can't write {path}: File too large\n"
    assert path.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


def test_a_read_only_folder(
    public_path: Path, unprivileged: Callable[[], AbstractContextManager[None]]
) -> None:
    (public_path / "file").write_text("old")
    public_path.chmod(0o555)
    with unprivileged(), pytest.raises(StoreError, match=r"can't write .*file: Permission denied"):
        write_text(public_path / "file", "new")
    assert (public_path / "file").read_text() == "old"


def test_a_place_that_can_not_be(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("a file")
    with pytest.raises(StoreError, match=r"Not a directory|File exists"):
        write_text(tmp_path / "file" / "below", "x")
    (tmp_path / "folder").mkdir()
    with pytest.raises(StoreError, match="can't write"):
        write_text(tmp_path / "folder", "x")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["file", "folder"]


def test_the_file_mode_is_the_one_the_umask_says(tmp_path: Path) -> None:
    # Reports and baselines are read by others: another user of a CI machine, a container's host.
    old = os.umask(0o022)
    try:
        write_text(tmp_path / "report.json", "{}")
    finally:
        os.umask(old)
    assert stat.S_IMODE((tmp_path / "report.json").stat().st_mode) == 0o644


def test_a_pipe_or_device_is_never_replaced_by_a_file(tmp_path: Path) -> None:
    # `--tvm-json /dev/null` as root must not take /dev/null away.
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with pytest.raises(StoreError, match="can't write"):
        write_text(pipe, "x")
    assert pipe.is_fifo()
    assert list(tmp_path.iterdir()) == [pipe]


def test_set_aside(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    path.write_text("half")
    message = set_aside(path, "line 1")
    assert message == f"x.json is damaged (line 1) and was renamed to {tmp_path / 'x.json.damaged'}"
    assert (tmp_path / "x.json.damaged").read_text() == "half"
    assert not path.exists()


def test_a_path_in_a_text_may_be_no_utf_8(tmp_path: Path) -> None:
    """As the paths of a folder `ü` are where the locale is C."""
    write_text(tmp_path / "page.html", os.fsdecode(b"logs in b\xfcro"))
    assert (tmp_path / "page.html").read_bytes() == b"logs in b\xfcro"
