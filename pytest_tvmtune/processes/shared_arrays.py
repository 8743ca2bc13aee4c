"""Arrays in .npy files: jobs get them this way, and all processes share large parameters.

Large arrays are written once, then mapped by the processes that need them. So they are in memory
only once, and only while they are read.
"""

from __future__ import annotations

import contextlib
import mmap
import os
import shutil
import tempfile
import weakref
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from pytest_tvmtune.core.background import repeatedly
from pytest_tvmtune.core.errors import StoreError
from pytest_tvmtune.core.tensors.dtypes import from_plain, to_plain
from pytest_tvmtune.core.tensors.signature import Array

# All parameters of a model together: below, a few copies cost less than the files.
LARGE_BYTES = 64 << 20
_GIVE_BACK_EVERY_S = 0.02


@dataclass(frozen=True, kw_only=True)
class ArrayFile:
    """A .npy file.

    dtype: the array's own, where the file can't name it. is_shared: see `share_arrays`.
    """

    path: Path
    dtype: str
    is_shared: bool = False


class SharedArray(np.memmap[Any, Any]):
    """An array on a file's pages. Changes would stay in this process, and there are none.

    file: the file that it is the whole of; None for an array that numpy derived from it.
    """

    file: ArrayFile | None = None


@dataclass(frozen=True, kw_only=True, eq=False)
class SharedArrays:
    """Arrays, and the object that keeps the files that they are mapped from."""

    arrays: tuple[SharedArray, ...]


def share_arrays(arrays: Iterable[Array], scratch: Path) -> SharedArrays:
    """Write arrays into a new folder below `scratch`, and map them. Raises StoreError.

    The files lose their names when the result is deleted, but stay for processes that mapped them.
    """
    folder: Path | None = None
    try:
        scratch.mkdir(parents=True, exist_ok=True)
        folder = Path(tempfile.mkdtemp(prefix="shared-", dir=scratch))
        shared_arrays = SharedArrays(
            arrays=tuple(
                _shared(write_array(folder / f"{index}.npy", array, is_shared=True))
                for index, array in enumerate(arrays)
            )
        )
    except OSError as error:
        if folder:
            shutil.rmtree(folder, ignore_errors=True)
        raise StoreError(
            f"can't write the model's parameters to {scratch}: {error.strerror or error}"
        ) from error
    weakref.finalize(shared_arrays, _remove, folder, os.getpid())
    return shared_arrays


def _remove(folder: Path, owner: int) -> None:
    if os.getpid() == owner:  # a fork of this process ends before it
        shutil.rmtree(folder, ignore_errors=True)


def write_array(path: Path, array: Array, *, is_shared: bool = False) -> ArrayFile:
    """Write an array, of any dtype that TVM knows, in C's order."""
    np.save(path, np.asarray(to_plain(array), order="C"), allow_pickle=False)
    return ArrayFile(path=path, dtype=array.dtype.name, is_shared=is_shared)


def read_array(file: ArrayFile) -> Array:
    """Map what `write_array` wrote: read-only, or a SharedArray."""
    if file.is_shared:
        return _shared(file)
    return from_plain(np.load(file.path, mmap_mode="r", allow_pickle=False), file.dtype)


def _shared(file: ArrayFile) -> SharedArray:
    plain = np.load(file.path, mmap_mode="c", allow_pickle=False)
    array = from_plain(plain, file.dtype).view(SharedArray)
    array.file = file
    return array


def release_pages(arrays: Iterable[Array]) -> None:
    """Let go of the pages of shared arrays; who reads them next has the kernel map them again."""
    for array in arrays:
        if isinstance(array, SharedArray):
            pages = getattr(array, "_mmap")  # noqa: B009  numpy's own name, and its only one
            pages.madvise(mmap.MADV_DONTNEED)


@contextlib.contextmanager
def releasing_pages(arrays: Sequence[Array]) -> Iterator[None]:
    """Give pages of shared arrays back during the block, which reads each of them once.

    Otherwise, all pages would be in memory at its end, in addition to its results.
    """
    shared_arrays = [array for array in arrays if isinstance(array, SharedArray)]
    if not shared_arrays:
        yield
        return
    release = partial(release_pages, shared_arrays)
    try:
        with repeatedly(release, every_s=_GIVE_BACK_EVERY_S, name="tvmtune-pages"):
            yield
    finally:
        release()
