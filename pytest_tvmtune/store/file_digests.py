"""SHA-256 of files, remembered in the store by size, times and inode: the next run only looks.

One JSON file. Damaged or of another kind, it is made anew.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Iterable, Mapping
from functools import cache, lru_cache
from pathlib import Path

from pytest_tvmtune.core.clock import now_s
from pytest_tvmtune.core.errors import StoreError
from pytest_tvmtune.core.json_codec import Sha256, from_json_values
from pytest_tvmtune.store.atomic_files import load_json, write_json
from pytest_tvmtune.store.layout import Store

# What was written within the clock's grain after it was looked at would have the same time.
_GRAIN_S = 2.0
# Size, times of modification and of change in nanoseconds, inode.
_Looks = tuple[int, int, int, int]
_Entry = tuple[_Looks, Sha256]


def file_digests(store: Store, paths: Iterable[str]) -> dict[str, str]:
    """Return the SHA-256 of files, by path; paths that are no readable file are left out.

    A file is read again when its size, its time of modification or of change, or its inode is
    different. If a digest can't be kept, as in a read-only store, each process reads the file once.
    """
    known = _read(store)
    digests: dict[str, str] = {}
    news: dict[str, _Entry] = {}
    for path in paths:
        try:
            looks = _looks(path)
            before, digest = known.get(path, (None, ""))
            if before == looks:
                digests[path] = digest
                continue
            digests[path] = _sha256(path, looks)
        except OSError:
            continue
        if max(looks[1:3]) < (now_s() - _GRAIN_S) * 1e9:
            news[path] = (looks, digests[path])
    if news:
        # Another process may have written meanwhile: at worst, a file is read once more.
        with contextlib.suppress(StoreError):
            kept = {path: entry for path, entry in _read(store).items() if os.path.exists(path)}  # noqa: PTH110
            write_json(store.digests, {**kept, **news})
    return digests


def _looks(path: str) -> _Looks:
    status = os.stat(path)  # noqa: PTH116  a thousand of them
    return status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino


@cache
def _sha256(path: str, _: _Looks) -> str:
    digest = hashlib.sha256()
    with open(path, "rb") as file:  # noqa: PTH123
        while part := file.read(1 << 20):
            digest.update(part)
    return digest.hexdigest()


def _read(store: Store) -> Mapping[str, _Entry]:
    path = str(store.digests)
    try:
        return _parsed(path, _looks(path))
    except (OSError, ValueError):
        return {}


@lru_cache(maxsize=1)
def _parsed(path: str, _: _Looks) -> Mapping[str, _Entry]:
    """Return what is in the file that looks so: a thousand entries are parsed once a process."""
    return from_json_values(load_json(Path(path).read_bytes()), dict[str, _Entry])
