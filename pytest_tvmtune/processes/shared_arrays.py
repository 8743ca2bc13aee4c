"""Arrays in .npy files: how jobs get them, and where large parameters lie for all processes.

What is large is parked: written once, then mapped by whoever needs it, so that it is in memory
once, and only while it is read.
"""

from __future__ import annotations

import contextlib
import mmap
import os
import shutil
import tempfile
import threading
import weakref
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pytest_tvmtune.core.errors import StoreError
from pytest_tvmtune.core.tensors.dtypes import from_plain, to_plain
from pytest_tvmtune.core.tensors.signature import Array

# All parameters of a model together: below, a few copies cost less than the files.
LARGE_BYTES = 64 << 20
_GIVE_BACK_EVERY_S = 0.02


@dataclass(frozen=True, kw_only=True)
class ArrayFile:
    """A .npy file. dtype: the array's own, where the file can't name it. is_parked: see `park`."""

    path: Path
    dtype: str
    is_parked: bool = False


class ParkedArray(np.memmap[Any, Any]):
    """An array on a file's pages, with changes that stay in this process, which nobody makes."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Parked:
    """Arrays, and the files that they are mapped from."""

    files: tuple[ArrayFile, ...]
    arrays: tuple[Array, ...]


def park(arrays: Iterable[Array], scratch: Path) -> Parked:
    """Write arrays into a folder of their own below `scratch`, and map them. Raises StoreError.

    The files lose their names once nobody holds what is returned, but stay for who mapped them.
    """
    folder: Path | None = None
    try:
        scratch.mkdir(parents=True, exist_ok=True)
        folder = Path(tempfile.mkdtemp(prefix="parked-", dir=scratch))
        files = tuple(
            write_array(folder / f"{index}.npy", array, is_parked=True)
            for index, array in enumerate(arrays)
        )
        parked = Parked(files=files, arrays=tuple(map(read_array, files)))
    except OSError as error:
        if folder:
            shutil.rmtree(folder, ignore_errors=True)
        raise StoreError(
            f"no room for the model's parameters in {scratch}: {error.strerror or error}"
        ) from error
    weakref.finalize(parked, _remove, folder, os.getpid())
    return parked


def _remove(folder: Path, owner: int) -> None:
    if os.getpid() == owner:  # a fork of this process ends before it
        shutil.rmtree(folder, ignore_errors=True)


def write_array(path: Path, array: Array, *, is_parked: bool = False) -> ArrayFile:
    """Write an array, of any dtype that TVM knows, in C's order."""
    np.save(path, np.asarray(to_plain(array), order="C"), allow_pickle=False)
    return ArrayFile(path=path, dtype=array.dtype.name, is_parked=is_parked)


def read_array(file: ArrayFile) -> Array:
    """Map what `write_array` wrote: read-only, or a ParkedArray."""
    plain = np.load(file.path, mmap_mode="c" if file.is_parked else "r", allow_pickle=False)
    array = from_plain(plain, file.dtype)
    return array.view(ParkedArray) if file.is_parked else array


def give_back(arrays: Iterable[Array]) -> None:
    """Let go of the pages of parked arrays; who reads them next has the kernel map them again."""
    for array in arrays:
        if isinstance(array, ParkedArray):
            pages = getattr(array, "_mmap")  # noqa: B009  numpy's own name, and its only one
            pages.madvise(mmap.MADV_DONTNEED)


@contextlib.contextmanager
def given_back(arrays: Sequence[Array]) -> Iterator[None]:
    """Give pages of parked arrays back all the while: for what reads each of them once.

    Else all of them would be in memory by its end, beside what it makes of them.
    """
    parked = [array for array in arrays if isinstance(array, ParkedArray)]
    if not parked:
        yield
        return
    over = threading.Event()

    def keep_giving() -> None:
        while not over.wait(_GIVE_BACK_EVERY_S):
            give_back(parked)

    thread = threading.Thread(target=keep_giving, name="tvmtune-pages", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
        give_back(parked)
