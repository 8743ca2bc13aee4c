"""Nested outputs as a flat list of arrays, each named by its path."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import Any

import numpy as np

from pytest_tvmtune.core.errors import ModelError
from pytest_tvmtune.core.tensors.dtypes import is_real
from pytest_tvmtune.core.tensors.signature import Array, as_numpy

Nested = Any  # an array, or a tuple/list of Nested
ROOT = "output"
_NOTHING = object()


@dataclass(frozen=True, kw_only=True, eq=False)
class OutputPair:
    """An output and its expectation; None if one of them is missing."""

    path: str
    got: Array | None
    want: Array | None


def flatten(value: Nested, path: str = ROOT) -> Iterator[tuple[str, Array]]:
    """Yield (path, array) for each leaf: `output`, `output[1]`, `output[1][0]`."""
    if isinstance(value, (tuple, list)):
        for index, item in enumerate(value):
            yield from flatten(item, f"{path}[{index}]")
    else:
        yield path, as_numpy(value)


def names_by_path(paths: Sequence[str], names: Sequence[str]) -> dict[str, str]:
    """Return path -> the source's own name. names: one for each path, else they are of no use."""
    return dict(zip(paths, names, strict=True)) if len(names) == len(paths) else {}


def paths_of(
    given: Mapping[str, Any], paths: Sequence[str], names: Sequence[str], what: str
) -> dict[str, Any]:
    """Return what is given for outputs by path or by the source's own name, by path.

    names: one for each path, else they are of no use. what: the argument, for the message.
    Raises ModelError for an unknown or doubled key.
    """
    known = {name: path for path, name in names_by_path(paths, names).items()}
    known |= {path: path for path in paths}
    found: dict[str, Any] = {}
    for key, value in given.items():
        if key not in known:
            raise ModelError(f"{what} has {key!r}, but the model's outputs are {_listing(known)}")
        if known[key] in found:
            raise ModelError(
                f"{what} has {known[key]!r} twice, by path and by name; remove one of them"
            )
        found[known[key]] = value
    return found


def pair_outputs(actual: Nested, expected: Nested, names: Sequence[str] = ()) -> list[OutputPair]:
    """Return each output with its expectation, by path.

    expected: the same structure as `actual`, where a list stands for a tuple and a plain sequence
    of numbers for an array; or a dict by path or name, of the outputs to compare. If only one side
    has an output, the other side of the pair is None.
    Raises ModelError for a value that isn't an array, and for a key that doesn't name an output.
    """
    if not isinstance(expected, Mapping):
        return list(_matched(actual, expected, ROOT))
    if not expected:
        raise ModelError("expected is an empty dict; give at least one output")
    got = dict(flatten(actual))
    return [
        OutputPair(path=path, got=got[path], want=_array(value))
        for path, value in paths_of(expected, list(got), names, "expected").items()
    ]


def pair_all_outputs(actual: Nested, expected: Mapping[str, Array]) -> list[OutputPair]:
    """Return each output, and each array that is expected by path, with its other side."""
    got = dict(flatten(actual))
    return [
        OutputPair(path=path, got=got.get(path), want=expected.get(path))
        for path in {**got, **expected}
    ]


def _matched(actual: Nested, expected: Nested, path: str) -> Iterator[OutputPair]:
    if actual is _NOTHING:
        yield from (
            OutputPair(path=at, got=None, want=want) for at, want in flatten(expected, path)
        )
    elif expected is _NOTHING:
        yield from (OutputPair(path=at, got=got, want=None) for at, got in flatten(actual, path))
    elif not isinstance(actual, (tuple, list)):
        if _is_tuple_of_arrays(expected):
            yield from _matched(actual, _NOTHING, path)
            yield from _matched(_NOTHING, expected, path)
        else:
            yield OutputPair(path=path, got=as_numpy(actual), want=_array(expected))
    elif isinstance(expected, (tuple, list)):
        for index, (one, other) in enumerate(zip_longest(actual, expected, fillvalue=_NOTHING)):
            yield from _matched(one, other, f"{path}[{index}]")
    else:
        yield from _matched(actual, _NOTHING, path)
        yield OutputPair(path=path, got=None, want=_array(expected))


def _is_tuple_of_arrays(expected: Any) -> bool:
    """Whether it can't be one array, and each of its leaves is one."""
    if not isinstance(expected, (tuple, list)) or _as_one_array(expected) is not None:
        return False
    leaves = list(_leaves_of(expected))
    return bool(leaves) and all(hasattr(leaf, "shape") for leaf in leaves)


def _leaves_of(value: Any) -> Iterator[Any]:
    if isinstance(value, (tuple, list)):
        for item in value:
            yield from _leaves_of(item)
    else:
        yield value


def _array(expected: Any) -> Array:
    if not isinstance(expected, (bool, int, float, tuple, list)):
        return as_numpy(expected)
    array = _as_one_array(expected)
    if array is None:
        count = f" of length {len(expected)}" if isinstance(expected, (tuple, list)) else ""
        raise ModelError(
            f"expected is a {type(expected).__name__}{count}, but the model returns one array"
        )
    return array


def _as_one_array(expected: Any) -> Array | None:
    try:
        array = np.asarray(expected)
    except (ValueError, TypeError):
        return None
    return array if is_real(array.dtype) else None


def _listing(known: Mapping[str, str]) -> str:
    shown = [path if path == key else f"{path} ({key})" for key, path in known.items()]
    return ", ".join(shown[:12]) + (", ..." if len(shown) > 12 else "")
