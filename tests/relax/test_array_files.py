"""Large arrays in files that all processes map, and give back."""

from __future__ import annotations

import gc
import os
import resource
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest

from pytest_tvmtune.core.errors import StoreError
from pytest_tvmtune.core.tensors.signature import TensorSpec, made_up
from pytest_tvmtune.processes.shared_arrays import (
    read_array,
    release_pages,
    releasing_pages,
    share_arrays,
    write_array,
)
from pytest_tvmtune.relax import compat
from pytest_tvmtune.relax.measuring.session import tensor_on

ARRAYS = [
    np.arange(12, dtype="float32").reshape(3, 4),
    np.asfortranarray(np.arange(6, dtype="int8").reshape(2, 3)),
    np.array(1.5, "float16"),
    np.array([1.5, -2.0], ml_dtypes.bfloat16),
    np.array([True, False]),
]


def resident_bytes(array: Any) -> int:
    """Return how much of the mapping that an array lies in is in memory, for this process."""
    address = array.ctypes.data
    lines = Path("/proc/self/smaps").read_text().splitlines()
    for index, line in enumerate(lines):
        first, dash, rest = line.partition("-")
        if dash and " " in rest and not first.endswith(":"):
            low, high = int(first, 16), int(rest.split()[0], 16)
            if low <= address < high:
                rss = next(text for text in lines[index:] if text.startswith("Rss:"))
                return int(rss.split()[1]) << 10
    raise AssertionError("it isn't mapped")


def test_parked_arrays_are_the_same_and_tensors_lie_on_them(tmp_path: Path) -> None:
    shared_arrays = share_arrays(ARRAYS, tmp_path)
    for array, mapped in zip(ARRAYS, shared_arrays.arrays, strict=True):
        assert mapped.file is not None
        assert mapped.dtype == array.dtype
        assert np.array_equal(mapped, array)
        assert mapped.flags.c_contiguous
        assert np.array_equal(read_array(mapped.file), array)
        assert getattr(mapped[...], "file", None) is None
        tensor = tensor_on(mapped)
        assert compat.address_of(tensor) == mapped.ctypes.data
        assert tuple(tensor.shape) == array.shape
        assert str(tensor.dtype) == array.dtype.name
        assert np.array_equal(tensor.numpy(), array)


def test_what_is_written_to_parked_arrays_stays_in_the_process(tmp_path: Path) -> None:
    shared_arrays = share_arrays([np.zeros(4)], tmp_path)
    (array,) = shared_arrays.arrays
    array[:] = 1
    assert array.file is not None
    assert read_array(array.file).sum() == 0


def test_files_go_with_their_holder_and_mapped_arrays_stay(tmp_path: Path) -> None:
    shared_arrays = share_arrays(ARRAYS, tmp_path)
    first = shared_arrays.arrays[0]
    assert len(list(tmp_path.iterdir())) == 1
    if not (pid := os.fork()):  # its end is not the holder's
        del shared_arrays
        gc.collect()
        os._exit(0)
    os.waitpid(pid, 0)
    assert len(list(tmp_path.iterdir())) == 1
    del shared_arrays
    gc.collect()
    assert list(tmp_path.iterdir()) == []
    assert np.array_equal(first, ARRAYS[0])


def test_without_room_it_says_so_and_leaves_nothing(tmp_path: Path) -> None:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    # Python ignores SIGXFSZ, so that a file that may not grow is an error, as on a full disk.
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, before[1]))
    try:
        with pytest.raises(StoreError, match="can't write the model's parameters"):
            share_arrays([np.zeros(3), np.zeros(1 << 20)], tmp_path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert list(tmp_path.iterdir()) == []


def test_pages_are_given_back_and_read_again(tmp_path: Path) -> None:
    size = 4 << 20
    (array,) = share_arrays([np.ones(size, "uint8")], tmp_path).arrays
    assert array.sum() == size
    assert resident_bytes(array) >= size
    release_pages([array, np.ones(3)])
    assert resident_bytes(array) == 0
    with releasing_pages([array]):
        assert array.sum() == size
    assert resident_bytes(array) == 0
    assert array.sum() == size


def test_a_users_own_mapped_array_is_left_alone(tmp_path: Path) -> None:
    """Giving its pages back would undo what was written to them."""
    np.save(tmp_path / "own.npy", np.zeros(4))
    own = np.load(tmp_path / "own.npy", mmap_mode="c")
    own[:] = 2
    with releasing_pages([own]):
        pass
    release_pages([own])
    assert own.sum() == 8


def test_read_only_unless_parked(tmp_path: Path) -> None:
    file = write_array(tmp_path / "a.npy", ARRAYS[1])
    array = read_array(file)
    assert not array.flags.writeable
    assert np.array_equal(array, ARRAYS[1])


def test_made_up_floats_are_those_of_one_draw() -> None:
    spec = TensorSpec(name="w", shape=(300, 301), dtype="float32")
    drawn = np.random.default_rng(1).standard_normal(spec.shape) * 0.1
    made = made_up(spec, np.random.default_rng(1), scale=0.1)
    assert made.dtype == np.float32
    assert np.array_equal(made, drawn.astype("float32"))
    scalar = made_up(TensorSpec(name="s", shape=(), dtype="float64"), np.random.default_rng(1))
    assert scalar.shape == ()
    assert scalar == np.random.default_rng(1).standard_normal()
