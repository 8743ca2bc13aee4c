"""Locks between processes: one for each folder of records, one for the machine's cores."""

from __future__ import annotations

import hashlib
import os
import tempfile
from pathlib import Path

from filelock import FileLock


def folder_lock(folder: Path) -> FileLock:
    """Return the lock that whoever changes files in `folder` holds meanwhile."""
    folder.mkdir(parents=True, exist_ok=True)
    return FileLock(folder / "folder.lock")


def path_lock(path: Path) -> FileLock:
    """Return the lock for changing a folder of the user's, where no file of ours may be left."""
    digest = hashlib.sha256(str(path.resolve()).encode()).hexdigest()[:16]
    return FileLock(Path(tempfile.gettempdir()) / f"pytest-tvmtune-{os.getuid()}-{digest}.lock")


def cores_lock() -> FileLock:
    """Return the machine-wide lock of whoever measures time: tuning and the latency gate.

    It stands in the machine's temporary folder, since two checkouts share the cores.
    """
    return FileLock(Path(tempfile.gettempdir()) / f"pytest-tvmtune-{os.getuid()}.lock")
