"""Locks between processes: files of records, workloads under tuning, the machine's cores."""

from __future__ import annotations

import contextlib
import hashlib
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from filelock import BaseFileLock, FileLock, Timeout

from pytest_tvmtune.core.errors import StoreError

# Where these locks are, in the environment of children, whose temporary folders are their own.
FOLDER_VARIABLE = "TVMTUNE_LOCKS"
# Waiting is cut into pieces, so that Ctrl-C is heard within one.
_PIECE_S = 0.25


def folder_lock(folder: Path) -> AbstractContextManager[None]:
    """Hold the lock of a process that changes files in `folder`. Raises StoreError."""
    return file_lock(folder / "folder.lock")


@contextlib.contextmanager
def file_lock(path: Path) -> Iterator[None]:
    """Hold the lock of the file `path`, once no other process holds it. Raises StoreError."""
    lock = FileLock(path)
    _acquire(lock)
    try:
        yield
    finally:
        lock.release()


def path_lock(path: Path) -> FileLock:
    """Return the lock for changing a user's folder; the lock's file isn't in that folder."""
    digest = hashlib.sha256(os.fsencode(path.resolve())).hexdigest()[:16]
    return FileLock(_in_lock_folder(f"{digest}.lock"))


def try_lock(path: Path) -> FileLock | None:
    """Return the lock of the file `path`, acquired, or None when another process holds it.

    Raises StoreError.
    """
    lock = FileLock(path)
    try:
        _acquire(lock, blocking=False)
    except Timeout:
        return None
    return lock


def _acquire(lock: BaseFileLock, *, blocking: bool = True) -> None:
    try:
        Path(lock.lock_file).parent.mkdir(parents=True, exist_ok=True)
        lock.acquire(blocking=blocking)
    except Timeout:
        raise
    # A server without locks, such as NFS without lockd, gives ENOLCK.
    except (OSError, NotImplementedError) as error:
        raise StoreError(
            f"can't lock {lock.lock_file}: {error}; use a folder that you can write to, on a file "
            "system with locks"
        ) from error


def lock_folder() -> Path:
    """Return the machine's temporary folder, as the process at the top sees it."""
    return Path(os.environ.get(FOLDER_VARIABLE) or tempfile.gettempdir())


@contextlib.contextmanager
def shared_cores() -> Iterator[None]:
    """Hold the machine's cores for work that others' work doesn't harm: searching, compiling."""
    with _cores("read"):
        yield


@contextlib.contextmanager
def exclusive_cores() -> Iterator[None]:
    """Hold the machine's cores alone, as a measurement of time requires."""
    with _cores("write"):
        yield


@contextlib.contextmanager
def _cores(mode: str) -> Iterator[None]:
    # Imports sqlite3, which starting pytest must not.
    from filelock import ReadWriteLock

    try:
        # In the machine's temporary folder, since two checkouts share the cores. An instance for
        # each holder: threads of one process wait for one another, too.
        lock = ReadWriteLock(_in_lock_folder("cores.db"), is_singleton=False)
        # Whoever wants the cores alone holds the turnstile while it waits, so that those who
        # share them can't pass it for ever.
        turnstile = FileLock(_in_lock_folder("turnstile.lock"))
        _wait_for(turnstile.acquire)
        try:
            if mode == "write":
                _wait_for(lock.acquire_write)
        finally:
            turnstile.release()
        if mode == "read":
            _wait_for(lock.acquire_read)
    except OSError as error:
        raise StoreError(
            f"can't lock the machine's cores in {lock_folder()}: {error}; "
            "set TMPDIR to a folder that you can write to"
        ) from error
    try:
        yield
    finally:
        lock.close()


def _wait_for(acquire: Callable[..., Any]) -> None:
    while True:
        with contextlib.suppress(Timeout):
            acquire(timeout=_PIECE_S)
            return


def _in_lock_folder(name: str) -> Path:
    return lock_folder() / f"pytest-tvmtune-{os.getuid()}-{name}"
