"""Exported folders take their place as a whole, or not at all."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from pytest_tvmtune.core.errors import StoreError
from pytest_tvmtune.store import exported_folders
from pytest_tvmtune.store.exported_folders import check_place, read_export_manifest, replacing
from tests.support import ROOT
from tests.support.sample_store import contents

EARLIER = '{"schema": "pytest-tvmtune-export"}'
# Writes a part of the folder, and waits.
HALF = """
import sys, time
from pathlib import Path
from pytest_tvmtune.store.exported_folders import replacing

with replacing(Path(sys.argv[1]), force=True) as made:
    (made / "model.so").write_bytes(b"half")
    print("written", flush=True)
    time.sleep(600)
"""


def export(
    folder: Path, content: bytes, *, force: bool = False, error: Exception | None = None
) -> None:
    with replacing(folder, force=force) as made:
        (made / "deep").mkdir()
        (made / "deep/model.so").write_bytes(content)
        if error is not None:
            raise error


def test_a_new_folder(tmp_path: Path) -> None:
    export(tmp_path / "a/b", b"new")
    assert contents(tmp_path) == {"a/b/deep/model.so": b"new"}
    # As the umask says, so that others can deploy it.
    usual = tmp_path / "usual"
    usual.mkdir()
    assert (tmp_path / "a/b").stat().st_mode == usual.stat().st_mode


@pytest.mark.parametrize("exchanges", [True, False])
def test_an_earlier_folder_is_replaced_with_all_its_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, exchanges: bool
) -> None:
    if not exchanges:
        monkeypatch.setattr(exported_folders, "_exchange", lambda *_: False)
    folder = tmp_path / "deploy"
    export(folder, b"old")
    (folder / "surplus").touch()
    export(folder, b"new", force=True)
    assert contents(tmp_path) == {"deploy/deep/model.so": b"new"}


def test_what_fails_leaves_the_folder_as_it_is(tmp_path: Path) -> None:
    folder = tmp_path / "deploy"
    export(folder, b"old")
    for error, raised in ((KeyError(), KeyError), (OSError(28, "No space left"), StoreError)):
        with pytest.raises(raised) as caught:
            export(folder, b"new", force=True, error=error)
    assert str(caught.value) == f"can't write {folder}: No space left"
    assert contents(tmp_path) == {"deploy/deep/model.so": b"old"}


@pytest.mark.parametrize("exchanges", [True, False])
def test_a_folder_that_can_not_be_put_in_its_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, exchanges: bool
) -> None:
    folder = tmp_path / "deploy"
    export(folder, b"old")
    rename = Path.rename

    def fail(path: Path, target: Path) -> Path:
        if target == folder and not path.name.endswith("-before"):
            raise OSError(5, "Input/output error")
        return rename(path, target)

    if exchanges:
        monkeypatch.setattr(exported_folders, "_put", lambda *_: fail(tmp_path / "made", folder))
    else:
        monkeypatch.setattr(exported_folders, "_exchange", lambda *_: False)
        monkeypatch.setattr(Path, "rename", fail)
    with pytest.raises(StoreError, match="Input/output error"):
        export(folder, b"new", force=True)
    assert contents(tmp_path) == {"deploy/deep/model.so": b"old"}


def test_a_folder_that_was_moved_away_comes_back(tmp_path: Path) -> None:
    """A process was killed between two renames, where the system can't exchange folders."""
    folder = tmp_path / "deploy"
    export(folder, b"old")
    folder.rename(tmp_path / ".deploy.tvmtune-0123456789ab-before")
    with pytest.raises(KeyError):
        export(folder, b"new", force=True, error=KeyError())
    assert contents(tmp_path) == {"deploy/deep/model.so": b"old"}


def test_a_killed_process_leaves_the_folder_as_it_is(tmp_path: Path) -> None:
    folder = tmp_path / "deploy"
    export(folder, b"old")
    command = [sys.executable, "-c", HALF, str(folder)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"written\n"
        process.kill()
        assert process.wait() == -signal.SIGKILL
    assert contents(folder) == {"deep/model.so": b"old"}
    assert len(list(tmp_path.iterdir())) == 2
    # The next one removes what was left.
    export(folder, b"new", force=True)
    assert contents(tmp_path) == {"deploy/deep/model.so": b"new"}


def test_which_places_can_be_taken(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").touch()
    users = tmp_path / "users"
    users.mkdir()
    (users / "notes.txt").touch()
    check_place(tmp_path / "new/deeper", force=False)
    check_place(tmp_path / "empty", force=False)
    check_place(users, force=True)
    with pytest.raises(StoreError, match="file is a file; give a folder"):
        check_place(tmp_path / "file", force=True)
    with pytest.raises(StoreError, match="file can't be written to; give another folder"):
        check_place(tmp_path / "file/below", force=True)
    with pytest.raises(StoreError, match=r"users isn't empty, and isn't an earlier export; .*"):
        check_place(users, force=False)
    with pytest.raises(StoreError, match=r"users can't be replaced, because .*notes.txt is in it"):
        check_place(users, force=True, keep=[users / "notes.txt"])
    for folder in (Path(), Path.cwd().parent, Path.home(), Path("/")):
        with pytest.raises(StoreError, match="can't be replaced, because"):
            check_place(folder, force=True)
    # A manifest alone, such as one of an artifact, isn't enough.
    for text in ("{}", "[]", "no JSON", EARLIER):
        (users / "manifest.json").write_text(text)
        assert read_export_manifest(users) is None
