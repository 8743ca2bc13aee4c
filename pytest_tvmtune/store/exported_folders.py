"""Exported folders: a library with everything that a deployment needs, written as a whole."""

from __future__ import annotations

import contextlib
import ctypes
import glob
import os
import secrets
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pytest_tvmtune.core.errors import StoreError, listed
from pytest_tvmtune.core.json_codec import Sha256, from_json_values, to_json_values
from pytest_tvmtune.core.tensors.signature import TensorSpec
from pytest_tvmtune.store.artifacts import MANIFEST, sha256_of
from pytest_tvmtune.store.atomic_files import load_json, write_json
from pytest_tvmtune.store.locks import path_lock

SCHEMA, VERSION = "pytest-tvmtune-export", 1
PARAMS, SCRIPT, WORK_DIR = "params.npz", "load.py", "work_dir"
_BEFORE = "-before"
# Source: renameat2(2).
_AT_FDCWD, _RENAME_EXCHANGE = -100, 2


@dataclass(frozen=True, kw_only=True)
class ExportedTask:
    """A tuning task of an exported library. best_s: seconds of a call, None without a record."""

    name: str
    shash: str
    calls: int
    best_s: float | None


@dataclass(frozen=True, kw_only=True)
class ExportManifest:
    """What is known of an exported folder without loading its library.

    source: what was exported. device: what `tvm.runtime.device` calls it. params: what the entry
    takes after the inputs, as params.npz has it. original_params: the parameters of the model;
    transforms: whether `<entry>_transform_params` makes params of them. outputs: by their paths;
    empty where the library wasn't called with the model's own parameters. seconds: what tuning and
    compiling took in the run that exported the folder. files: SHA-256 by path.
    """

    source: Mapping[str, str]
    entry: str
    inputs: tuple[TensorSpec, ...]
    params: tuple[TensorSpec, ...]
    original_params: tuple[TensorSpec, ...]
    transforms: bool
    outputs: tuple[TensorSpec, ...]
    target: Mapping[str, Any]
    device: str
    num_threads: int
    prepack: bool
    tvm: str
    tvm_ffi: str
    tasks: tuple[ExportedTask, ...]
    trials: int
    seconds: Mapping[str, float]
    created_at: str
    plugin: str
    files: Mapping[str, Sha256]
    schema: str = SCHEMA
    version: int = VERSION


def write_export_manifest(folder: Path, manifest: ExportManifest) -> None:
    """Write the manifest of a folder. Raises StoreError."""
    write_json(folder / MANIFEST, to_json_values(manifest))


def read_export_manifest(folder: Path) -> ExportManifest | None:
    """Return the manifest of an exported folder, None for any other folder."""
    try:
        values = load_json((folder / MANIFEST).read_bytes())
        if not isinstance(values, dict) or values.get("schema") != SCHEMA:
            return None
        return from_json_values(values, ExportManifest)
    except (OSError, ValueError):
        return None


def digests_of(folder: Path) -> dict[str, str]:
    """Return the SHA-256 of each file below a folder, by path."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): sha256_of(path) for path in files}


def check_place(folder: Path, *, force: bool, keep: Sequence[Path] = ()) -> None:
    """Raise StoreError if an exported folder can't take this place.

    force: whether it may take the place of any folder. An earlier export without other files is
    always replaced. keep: what must not be in the folder, such as the store.
    """
    place = folder.resolve()
    for kept in (*(one.resolve() for one in keep), Path.cwd(), Path.home()):
        if kept.is_relative_to(place):
            raise StoreError(
                f"{folder} can't be replaced, because {kept} is in it; give another folder"
            )
    if not folder.exists():
        parent = next(one for one in folder.absolute().parents if one.exists())
        if not parent.is_dir() or not os.access(parent, os.W_OK):
            raise StoreError(f"{parent} can't be written to; give another folder")
        return
    if not folder.is_dir():
        raise StoreError(f"{folder} is a file; give a folder")
    if force or not any(folder.iterdir()):
        return
    earlier = read_export_manifest(folder)
    if earlier is None:
        raise StoreError(
            f"{folder} isn't empty, and isn't an earlier export; give another folder, or replace "
            "it with --force"
        )
    if others := sorted(_files_of(folder) - {*earlier.files, MANIFEST}):
        raise StoreError(
            f"{folder} has files that aren't of the earlier export: {listed(others)}; move them, "
            "or replace them, too, with --force"
        )


def _files_of(folder: Path) -> set[str]:
    """Return the paths of all files below a folder, but for Python's caches."""
    files = (path.relative_to(folder) for path in folder.rglob("*") if not path.is_dir())
    return {path.as_posix() for path in files if "__pycache__" not in path.parts}


@contextlib.contextmanager
def replacing(folder: Path, *, force: bool, keep: Sequence[Path] = ()) -> Iterator[Path]:
    """Yield a new folder next to `folder`, which takes its place if nothing is raised.

    A process that is killed leaves `folder` as it is, and the new folder, which the next one
    removes.

    Args:
        folder: The place.
        force: As in `check_place`.
        keep: As in `check_place`.

    Raises:
        StoreError: It can't be written.
    """
    folder = folder.resolve()
    prefix = f".{folder.name}.tvmtune-"
    made = folder.with_name(f"{prefix}{secrets.token_hex(6)}")
    with path_lock(folder):
        try:
            folder.parent.mkdir(parents=True, exist_ok=True)
            for leftover in sorted(folder.parent.glob(f"{glob.escape(prefix)}*")):
                if leftover.name.endswith(_BEFORE) and not folder.exists():
                    # A process was killed after it had moved the earlier folder away.
                    leftover.rename(folder)
                else:
                    shutil.rmtree(leftover)
            made.mkdir()
            yield made
            check_place(folder, force=force, keep=keep)
            _flush(made)
            _put(made, folder)
        except OSError as error:
            raise StoreError(f"can't write {folder}: {error.strerror or error}") from error
        finally:
            shutil.rmtree(made, ignore_errors=True)


def _flush(folder: Path) -> None:
    for path in folder.rglob("*"):
        if path.is_file():
            with path.open("rb") as file:
                os.fsync(file.fileno())


def _put(made: Path, folder: Path) -> None:
    """Move a folder to its place; `made` is then the earlier folder, if any."""
    if not folder.exists():
        made.rename(folder)
        return
    if _exchange(made, folder):
        return
    before = made.with_name(f"{made.name}{_BEFORE}")
    folder.rename(before)
    try:
        made.rename(folder)
    except OSError:
        before.rename(folder)
        raise
    shutil.rmtree(before)


def _exchange(one: Path, other: Path) -> bool:
    """Exchange two folders in one step; return whether the system can do so."""
    function = getattr(ctypes.CDLL(None), "renameat2", None)
    if function is None:
        return False
    paths = os.fsencode(one), os.fsencode(other)
    return bool(function(_AT_FDCWD, paths[0], _AT_FDCWD, paths[1], _RENAME_EXCHANGE) == 0)
