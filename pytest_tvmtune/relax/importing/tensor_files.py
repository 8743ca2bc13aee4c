"""Inputs and outputs in files: .npy, .npz, and the .pb files of ONNX test data."""

from __future__ import annotations

import re
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from pytest_tvmtune.core.error_text import cause_of
from pytest_tvmtune.core.errors import ModelError
from pytest_tvmtune.core.tensors.signature import Array
from pytest_tvmtune.machine.import_errors import import_package
from pytest_tvmtune.relax.importing.onnx.onnxruntime_session import INSTALL

# What numpy and zipfile raise for files that are gone, cut off or damaged.
_UNREADABLE = (OSError, ValueError, EOFError, zipfile.BadZipFile, zlib.error)
Inputs = Mapping[str, object] | Sequence[object] | Path | None


def read_inputs(inputs: Inputs) -> Mapping[str, object] | Sequence[object] | None:
    """Return inputs with arrays in the place of paths. Raises ModelError, naming the file.

    A path stands for a .npy file, a .npz file (its array of the input's name, or its only array),
    or an ONNX tensor; in the place of all inputs, for a folder of ONNX test data.
    """
    if isinstance(inputs, Path):
        return read_tensors(inputs, "input")
    if isinstance(inputs, Mapping):
        return {
            name: _read_array(value, str(name)) if isinstance(value, Path) else value
            for name, value in inputs.items()
        }
    if isinstance(inputs, (list, tuple)):
        return [_read_array(value, "") if isinstance(value, Path) else value for value in inputs]
    return inputs


def read_tensors(folder: Path, kind: str) -> list[Array]:
    """Return the tensors `<kind>_0.pb`, `<kind>_1.pb`, ... of a folder of ONNX test data, in order.

    Raises ModelError, naming the file, where a file can't be read or is missing between others.
    """
    if not folder.is_dir():
        raise ModelError(f"{folder} is not a folder of ONNX test data")
    names = re.compile(rf"{kind}_(\d+)\.pb")
    matches = ((names.fullmatch(path.name), path) for path in folder.iterdir())
    found = {int(match[1]): path for match, path in matches if match}
    for number in range(max(found, default=-1)):
        if number not in found:
            raise ModelError(f"{folder}: the file {kind}_{number}.pb is missing")
    return [_read_tensor(found[number]) for number in sorted(found)]


def _read_array(path: Path, name: str) -> Array:
    try:
        if path.suffix == ".pb":
            return _read_tensor(path)
        # Opened here: numpy leaves a damaged file open.
        with path.open("rb") as file:
            loaded = np.load(file, allow_pickle=False)
            return loaded if isinstance(loaded, np.ndarray) else _member(path, loaded, name)
    except _UNREADABLE as error:
        raise ModelError(f"{path}: can't be read: {cause_of(error)}") from None


def _member(path: Path, loaded: Any, name: str) -> Array:
    names = list(loaded.files)
    chosen = name if name in names else names[0] if len(names) == 1 else None
    if chosen is None:
        raise ModelError(f"{path}: it has no array {name!r}; it has {', '.join(names) or 'none'}")
    try:
        return np.asarray(loaded[chosen])
    except _UNREADABLE as error:
        raise ModelError(f"{path}: {chosen!r} can't be read: {cause_of(error)}") from None


def _read_tensor(path: Path) -> Array:
    onnx = import_package("onnx", f"{path}: reading it", INSTALL)
    numpy_helper = import_package("onnx.numpy_helper", f"{path}: reading it", INSTALL)
    tensor = onnx.TensorProto()
    try:
        tensor.ParseFromString(path.read_bytes())
        if not tensor.data_type:
            raise ValueError("it has no tensor; sequences and optional values can't be given")
        return np.asarray(numpy_helper.to_array(tensor))
    except Exception as error:  # noqa: BLE001  protobuf and onnx raise types of their own
        raise ModelError(f"{path}: not an ONNX tensor: {cause_of(error)}") from None
