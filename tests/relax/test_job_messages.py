"""What jobs and their callers write for each other: arrays, numbers, paths, errors."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest

from pytest_tvmtune.core.errors import DefectError, RecordsNotAppliedError, StoreError
from pytest_tvmtune.core.json_codec import NullableFloat
from pytest_tvmtune.core.tensors.signature import Array
from pytest_tvmtune.processes.job_failures import error_of, job_failure_of
from pytest_tvmtune.processes.messages import read_message, write_message
from pytest_tvmtune.processes.shared_arrays import SharedArray, share_arrays


@dataclass(frozen=True, kw_only=True, eq=False)
class Message:
    arrays: tuple[Array, ...] = ()
    numbers: tuple[float, ...] = ()
    nullable: NullableFloat = 0.0
    place: Path | None = None


def sent(message: Message, folder: Path) -> Message:
    write_message(folder / "message", message)
    return read_message(folder / "message", Message)


def test_arrays_of_any_type_and_rank_are_mapped(tmp_path: Path) -> None:
    arrays = (
        np.arange(6, dtype="int8").reshape(2, 3),
        np.array(1.5, "float16"),
        np.array([1.5, -2.0], ml_dtypes.bfloat16),
        np.asfortranarray(np.eye(2, 3)),
    )
    received = sent(Message(arrays=arrays), tmp_path).arrays
    for array, other in zip(arrays, received, strict=True):
        assert (other.dtype, other.shape) == (array.dtype, array.shape)
        assert np.array_equal(other, array)
        assert not other.flags.writeable
    assert len(list(tmp_path.iterdir())) == 1 + len(arrays)


def test_a_shared_array_is_sent_by_its_own_file_and_a_part_of_it_is_not(tmp_path: Path) -> None:
    shared_arrays = share_arrays([np.arange(4.0)], tmp_path / "shared")
    (array,) = shared_arrays.arrays
    whole, part = sent(Message(arrays=(array, array[1:])), tmp_path).arrays
    assert isinstance(whole, SharedArray)
    assert whole.file == array.file
    assert (whole.tolist(), part.tolist()) == ([0, 1, 2, 3], [1, 2, 3])
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "message",
        "message-0.npy",
        "shared",
    ]


def test_numbers_and_paths_are_what_they_were(tmp_path: Path) -> None:
    undecodable = Path(os.fsdecode(b"/caf\xe9"))
    numbers: Any = (math.nan, -math.inf, np.float32(0.5), np.int64(3), 1)
    received = sent(Message(numbers=numbers, nullable=math.inf, place=undecodable), tmp_path)
    assert math.isnan(received.numbers[0])
    assert received.numbers[1:] == (-math.inf, 0.5, 3.0, 1.0)
    assert received.nullable == math.inf
    assert received.place == undecodable


def test_what_is_of_another_type_is_refused(tmp_path: Path) -> None:
    unknown: Any = object()
    with pytest.raises(TypeError, match="a job can't send or receive an object of type object"):
        write_message(tmp_path / "message", Message(place=unknown))
    assert list(tmp_path.iterdir()) == []
    write_message(tmp_path / "message", {"numbers": ["one"]})
    with pytest.raises(ValueError, match=r"Expected `float`, got `str` - at `\$.numbers\[0\]`"):
        read_message(tmp_path / "message", Message)


class OwnError(StoreError):
    """A kind of StoreError that core/errors.py doesn't know."""


def test_errors_keep_their_class_and_fields() -> None:
    error = RecordsNotAppliedError("two \udcff left out", shashes=("a", "b"))
    failure = job_failure_of(error)
    again = error_of(failure, failure.message)
    assert isinstance(again, RecordsNotAppliedError)
    assert (str(again), again.shashes) == ("two \\udcff left out", ("a", "b"))
    assert type(error_of(job_failure_of(OwnError("full")), "full")) is StoreError
    assert type(error_of(job_failure_of(DefectError("odd")), "odd")) is DefectError
    assert job_failure_of(KeyError("x")).kind == ""
