"""The shapes of an ONNX graph's inputs, made static."""

from __future__ import annotations

import operator
from collections.abc import Mapping, Sequence
from typing import Any, cast

import numpy as np

from pytest_tvmtune.core.errors import GivenError, ImporterError, UnsupportedTypeError
from pytest_tvmtune.core.signature import normalise_name

_MAX_SIZE = 2**31 - 1
# Element types of ONNX that no array can have.
_NO_NUMBERS = {0: "things of no type", 8: "strings"}


def make_static(inputs: Sequence[Any], shapes: dict[str, Sequence[int]], label: str) -> None:
    """Write the given shapes into the graph's inputs; afterwards every dimension is a number."""
    names = [value.name for value in inputs]
    if unknown := [name for name in shapes if name not in names]:
        raise GivenError(
            f"{label}: shapes names {unknown[0]!r}, the model's inputs are {', '.join(names)}"
        )
    for value in inputs:
        kind = value.type.WhichOneof("value")
        if kind != "tensor_type":
            raise UnsupportedTypeError(
                f"{label}: input {value.name!r} is a {kind}, only tensors can be given"
            )
        tensor = value.type.tensor_type
        if tensor.elem_type in _NO_NUMBERS:
            raise UnsupportedTypeError(
                f"{label}: input {value.name!r} holds {_NO_NUMBERS[tensor.elem_type]}, "
                "only numbers can be given"
            )
        wanted = shapes.get(value.name)
        if wanted is not None:
            _set_dims(tensor, value.name, _sizes(wanted, value.name, label), label)
        dims = _dims(tensor)
        if not tensor.HasField("shape"):
            raise GivenError(
                f"{label}: input {value.name!r} has no rank; give a static shape: "
                f"shapes={{{value.name!r}: (1, ...)}}"
            )
        if any(isinstance(dim, str) for dim in dims):
            example = tuple(1 if isinstance(dim, str) else dim for dim in dims)
            raise GivenError(
                f"{label}: input {value.name!r} has the dynamic shape "
                f"({', '.join(map(str, dims))}); give a static one: "
                f"shapes={{{value.name!r}: {example}}}"
            )


def _sizes(wanted: Any, name: str, label: str) -> list[int]:
    try:
        # Not int(): it would cut 1.5 off without a word.
        sizes = [operator.index(size) for size in wanted]
        usable = all(0 < size <= _MAX_SIZE for size in sizes)
    except TypeError:
        usable = False
    if not usable:
        raise GivenError(
            f"{label}: shapes gives {name!r} {wanted!r}, give a tuple of positive whole numbers: "
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
            f"{label}: shapes gives {name!r} rank {len(wanted)}, the model has {len(shape.dim)}"
        )
    for index, size in enumerate(wanted):
        if index == len(shape.dim):
            shape.dim.add()
        dim = shape.dim[index]
        if dim.dim_value > 0 and dim.dim_value != size:
            raise GivenError(
                f"{label}: shapes gives {name!r} the size {size} in dimension {index}, "
                f"the model has {dim.dim_value} there"
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
                f"the model takes ({', '.join(map(str, dims))})"
            )
        if 0 in shape:
            raise ImporterError(
                f"{label}: input {value.name!r} has shape {shape}, and TVM's ONNX importer takes a "
                "size of 0 for an unknown one; give an input that isn't empty"
            )
        shapes[value.name] = shape
    return shapes


def _dims(tensor: Any) -> list[int | str]:
    """Return the sizes of a graph's tensor, a name or `?` for each that is dynamic."""
    return [
        dim.dim_value if dim.dim_value > 0 else dim.dim_param or "?" for dim in tensor.shape.dim
    ]


def _fits(shape: Sequence[int], dims: Sequence[int | str]) -> bool:
    return len(shape) == len(dims) and all(
        isinstance(dim, str) or dim == size for size, dim in zip(shape, dims, strict=True)
    )
