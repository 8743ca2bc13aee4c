"""The messages of a job and its caller: a file, with its arrays next to it."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from pytest_tvmtune.core.json_codec import from_binary, to_binary

Message = TypeVar("Message")


def write_message(path: Path, message: Any) -> None:
    """Write a value into a file, and its arrays into separate files, unless they are in files.

    Args:
        path: The file; it exists as a whole, or not at all.
        message: A dataclass, or a container of some.

    Raises:
        OSError: There is no room.

    """
    written = path.with_suffix(".tmp")
    written.write_bytes(to_binary(message, _array_writer(path)))
    written.replace(path)


def read_message(path: Path, kind: type[Message]) -> Message:
    """Return what `write_message` wrote, with its arrays mapped.

    Args:
        path: The file.
        kind: The type of the value.

    Raises:
        ValueError: It is of another type.

    """
    return from_binary(path.read_bytes(), kind, _read_array)


def _array_writer(path: Path) -> Callable[[Any], Any]:
    numbers = itertools.count()

    def plain(value: Any) -> Any:
        import numpy as np

        from pytest_tvmtune.processes.shared_arrays import SharedArray, write_array

        if isinstance(value, SharedArray) and value.file:
            return value.file
        if isinstance(value, np.ndarray):
            return write_array(path.with_name(f"{path.stem}-{next(numbers)}.npy"), value)
        if isinstance(value, np.generic):
            return value.item()
        raise TypeError(f"a job can't send or receive an object of type {type(value).__name__}")

    return plain


def _read_array(_kind: type, file: dict[str, Any]) -> Any:
    from pytest_tvmtune.processes.shared_arrays import ArrayFile, read_array

    return read_array(ArrayFile(**{**file, "path": Path(os.fsdecode(file["path"]))}))
