"""The shapes of an ONNX graph's inputs, made static."""

from __future__ import annotations

import operator
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np

from pytest_tvmtune.core.errors import (
    GivenError,
    ImporterError,
    ModelError,
    UnsupportedTypeError,
    counted,
)
from pytest_tvmtune.core.settings.dimension_sizes import (
    MAX_SIZE,
    UNNAMED,
    UNSET_SIZE,
    Dims,
    DynamicInput,
    check_names,
    sizes_by_name,
)
from pytest_tvmtune.core.tensors.signature import normalise_name
from pytest_tvmtune.machine.import_errors import import_package
from pytest_tvmtune.relax.importing.onnx.onnxruntime_session import INSTALL
from pytest_tvmtune.relax.importing.onnx.reading import read_without_external_data, runtime_inputs

# Element types of ONNX that no array can have.
_NO_NUMBERS = {0: "elements without a type", 8: "strings"}


def make_static(
    inputs: Sequence[Any], shapes: Mapping[str, Sequence[int]], label: str, dims: Dims
) -> tuple[DynamicInput, ...]:
    """Give each dimension of the graph's inputs a size; return the inputs that were not static.

    shapes: of whole inputs. A dimension that they don't cover gets the size that its name has in
    `dims`, else in another input's shape, else UNSET_SIZE.
    Raises GivenError for a shape that doesn't fit and for an input without rank and shape, and
    UnsupportedTypeError.
    """
    names = [value.name for value in inputs]
    if unknown := [name for name in shapes if name not in names]:
        raise GivenError(
            f"{label}: shapes has {unknown[0]!r}, but the model's inputs are {', '.join(names)}"
        )
    found = dynamic_inputs(inputs, label)
    check_names(dims, found, label)
    for value in inputs:
        if value.name in shapes:
            sizes = _sizes(shapes[value.name], value.name, label)
            _set_dims(value.type.tensor_type, value.name, sizes, label)
    if without := [one for one in found if one.declared is None and one.name not in shapes]:
        error = GivenError(
            f"{label}: input {', '.join(repr(one.name) for one in without)} has no rank; "
            "give its static shape"
        )
        error.dynamic = without
        raise error
    given = [replace(one, sizes=tuple(shapes[one.name])) for one in found if one.name in shapes]
    known = {**sizes_by_name(given), **dims.sizes}
    by_name = {value.name: value.type.tensor_type for value in inputs}
    return tuple(
        replace(one, sizes=tuple(shapes[one.name]))
        if one.name in shapes
        else _fill_in(by_name[one.name], one, known)
        for one in found
    )


def dynamic_inputs_of_file(path: Path) -> list[DynamicInput]:
    """Return the inputs of a model file whose shapes aren't static; needs onnx, and no TVM.

    Raises ModelError, naming the file.
    """
    onnx = import_package("onnx", "reading ONNX models", INSTALL)
    proto = read_without_external_data(onnx, path)
    if not proto.graph.node:
        raise ModelError(f"{path}: not an ONNX model: its graph is empty")
    return dynamic_inputs(runtime_inputs(proto), str(path))


def dynamic_inputs(inputs: Sequence[Any], label: str) -> list[DynamicInput]:
    """Return those of a graph's inputs whose shapes aren't static.

    Raises UnsupportedTypeError for inputs that no array can be given for.
    """
    found = []
    for value in inputs:
        kind = value.type.WhichOneof("value")
        if kind != "tensor_type":
            raise UnsupportedTypeError(
                f"{label}: input {value.name!r} is a {kind}, but only tensors can be given"
            )
        tensor = value.type.tensor_type
        if tensor.elem_type in _NO_NUMBERS:
            raise UnsupportedTypeError(
                f"{label}: input {value.name!r} holds {_NO_NUMBERS[tensor.elem_type]}, "
                "but only numbers can be given"
            )
        declared = tuple(_dims(tensor)) if tensor.HasField("shape") else None
        if declared is None or any(isinstance(dim, str) for dim in declared):
            found.append(DynamicInput(name=value.name, declared=declared))
    return found


def _fill_in(tensor: Any, one: DynamicInput, known: Mapping[str, int]) -> DynamicInput:
    """Give an input's dynamic dimensions their sizes."""
    declared = one.declared or ()
    unset = tuple(i for i, dim in enumerate(declared) if isinstance(dim, str) and dim not in known)
    sizes = tuple(dim if isinstance(dim, int) else known.get(dim, UNSET_SIZE) for dim in declared)
    for dim, size in zip(tensor.shape.dim, sizes, strict=True):
        dim.Clear()
        dim.dim_value = size
    return replace(one, sizes=sizes, unset=unset)


def _sizes(wanted: Any, name: str, label: str) -> list[int]:
    try:
        # Not int(): it would cut 1.5 off without a word.
        sizes = [operator.index(size) for size in wanted]
        usable = all(0 < size <= MAX_SIZE for size in sizes)
    except TypeError:
        usable = False
    if not usable:
        raise GivenError(
            f"{label}: shapes[{name!r}] is {wanted!r}; give a tuple of positive whole numbers: "
            f"shapes={{{name!r}: (1, ...)}}"
        )
    return sizes


def _set_dims(tensor: Any, name: str, wanted: list[int], label: str) -> None:
    # A shape without dimensions is rank 0; only without a shape is the rank unknown.
    has_rank = tensor.HasField("shape")
    shape = tensor.shape
    shape.SetInParent()
    if has_rank and len(shape.dim) != len(wanted):
        raise GivenError(
            f"{label}: shapes[{name!r}] has {counted(len(wanted), 'dimension')}, but the model's "
            f"input has {len(shape.dim)}"
        )
    for index, size in enumerate(wanted):
        if index == len(shape.dim):
            shape.dim.add()
        dim = shape.dim[index]
        if dim.dim_value > 0 and dim.dim_value != size:
            raise GivenError(
                f"{label}: shapes[{name!r}] has size {size} in dimension {index}, but the model's "
                f"input has {dim.dim_value}"
            )
        dim.Clear()
        dim.dim_value = size


def shapes_of_given(
    inputs: Sequence[Any], given: Mapping[str, object] | Sequence[object] | None, label: str
) -> dict[str, Sequence[int]]:
    """Return the shapes of those arrays that are given for inputs whose shape isn't static.

    Raises GivenError where such a shape contradicts the model's, ImporterError for an empty array.
    """
    if given is None:
        return {}
    if isinstance(given, Mapping):
        by_name = {normalise_name(str(name)): value for name, value in given.items()}
        pairs = [(one, by_name.get(normalise_name(one.name))) for one in inputs]
    else:
        pairs = list(zip(inputs, given, strict=False))  # too few or too many are told later
    shapes: dict[str, Sequence[int]] = {}
    for value, array in pairs:
        tensor = value.type.tensor_type
        dims, has_rank = _dims(tensor), tensor.HasField("shape")
        if array is None or (has_rank and all(isinstance(dim, int) for dim in dims)):
            continue
        shape = np.shape(cast("Any", array))
        if has_rank and not _fits(shape, dims):
            raise GivenError(
                f"{label}: input {value.name!r} has shape {shape}, "
                f"but the model takes ({', '.join(map(str, dims))})"
            )
        if 0 in shape:
            raise ImporterError(
                f"{label}: input {value.name!r} has shape {shape}, and TVM's ONNX importer "
                "treats a size of 0 as unknown; give an input that isn't empty"
            )
        shapes[value.name] = shape
    return shapes


def _dims(tensor: Any) -> list[int | str]:
    """Return the sizes of a graph's tensor, a name or `?` for each that is dynamic."""
    return [
        dim.dim_value if dim.dim_value > 0 else dim.dim_param or UNNAMED for dim in tensor.shape.dim
    ]


def _fits(shape: Sequence[int], dims: Sequence[int | str]) -> bool:
    return len(shape) == len(dims) and all(
        isinstance(dim, str) or dim == size for size, dim in zip(shape, dims, strict=True)
    )
