"""The digests of files that are remembered: when they hold, and when a file is read again."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pytest_tvmtune.store.file_digests import file_digests
from pytest_tvmtune.store.layout import Store

LIE = "0" * 64


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "relu.py"
    path.write_text("max(x, 0)")
    return path


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def digest(store: Store, path: Path) -> str | None:
    return file_digests(store, [str(path)]).get(str(path))


def remember_a_lie(store: Store, path: Path) -> None:
    """Put a wrong digest under what the file looks like now: whoever returns it hasn't read it."""
    looks = path.stat()
    entry = [[looks.st_size, looks.st_mtime_ns, looks.st_ctime_ns, looks.st_ino], LIE]
    store.digests.write_text(json.dumps({str(path): entry}))


def test_a_file_that_looks_the_same_is_not_read(store: Store, file: Path) -> None:
    remember_a_lie(store, file)
    assert digest(store, file) == LIE


def test_an_edit_of_the_same_size_and_time_is_seen(store: Store, file: Path) -> None:
    before = file.stat()
    remember_a_lie(store, file)
    time.sleep(0.02)  # beyond the grain of the file system's clock
    file.write_text("min(x, 0)")
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
    after = file.stat()
    assert (after.st_size, after.st_mtime_ns) == (before.st_size, before.st_mtime_ns)
    assert digest(store, file) == sha256(file)


def test_a_file_that_took_its_place_is_seen(store: Store, file: Path, tmp_path: Path) -> None:
    remember_a_lie(store, file)
    other = tmp_path / "other"
    other.write_text("abs(x, 0)")
    other.replace(file)
    assert digest(store, file) == sha256(file)


def test_what_was_just_written_is_not_remembered(store: Store, file: Path) -> None:
    """It may be written once more within the grain of the clock, and look the same."""
    assert digest(store, file) == sha256(file)
    assert not store.digests.exists()


def test_what_is_older_is_remembered_until_it_is_gone(
    store: Store, file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    later = time.time() + 60
    monkeypatch.setattr("pytest_tvmtune.store.file_digests.now_s", lambda: later)
    other = tmp_path / "other.py"
    other.write_text("")
    for path in (file, other):
        assert digest(store, path) == sha256(path)
    assert set(json.loads(store.digests.read_text())) == {str(file), str(other)}
    other.unlink()
    assert digest(store, other) is None
    new = tmp_path / "new.py"
    new.write_text("new")
    assert digest(store, new) == sha256(new)
    assert set(json.loads(store.digests.read_text())) == {str(file), str(new)}


@pytest.mark.parametrize("content", ["", "[]", "{", '{"x": 3}', '{"PATH": [[1, 2, 3, 4], 5]}'])
def test_a_damaged_memory_is_made_anew(store: Store, file: Path, content: str) -> None:
    store.root.mkdir(exist_ok=True)
    store.digests.write_text(content.replace("PATH", str(file)))
    assert digest(store, file) == sha256(file)


WRITER = """
import sys
from pathlib import Path
from pytest_tvmtune.store.file_digests import file_digests
from pytest_tvmtune.store.layout import Store
store, files = Store(root=Path(sys.argv[1])), sys.argv[2:]
for file in files:
    assert len(file_digests(store, [file])[file]) == 64
"""


def test_several_processes_write_it_at_once(store: Store) -> None:
    files = [str(path) for path in sorted(Path(os.__file__).parent.glob("*.py"))[:60]]
    command = [sys.executable, "-c", WRITER, str(store.root)]
    halves = [files, list(reversed(files)), files]
    writers = [subprocess.Popen([*command, *half]) for half in halves]
    assert [writer.wait(60) for writer in writers] == [0, 0, 0]
    kept = json.loads(store.digests.read_text())
    assert all(entry[1] == sha256(Path(path)) for path, entry in kept.items())
    assert kept


def test_the_memory_is_parsed_once_for_several_sets_of_files(
    store: Store, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    remember_a_lie(store, file)
    assert digest(store, file) == LIE
    monkeypatch.setattr("pytest_tvmtune.store.file_digests.load_json", None)
    assert digest(store, file) == LIE
    monkeypatch.undo()
    store.digests.write_text("{}")
    assert digest(store, file) == sha256(file)
