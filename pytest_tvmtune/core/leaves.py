"""Nested outputs as a flat list of arrays, each named by its path."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from pytest_tvmtune.core.errors import ModelError
from pytest_tvmtune.core.signature import Array, as_numpy

Nested = Any  # an array, or a tuple/list of Nested
ROOT = "output"


def flatten(value: Nested, path: str = ROOT) -> Iterator[tuple[str, Array]]:
    """Yield (path, array) for each leaf: `output`, `output[1]`, `output[1][0]`."""
    if isinstance(value, (tuple, list)):
        for index, item in enumerate(value):
            yield from flatten(item, f"{path}[{index}]")
    else:
        yield path, as_numpy(value)


def paths_of(
    given: Mapping[str, Any], paths: Sequence[str], names: Sequence[str], what: str
) -> dict[str, Any]:
    """Return what is given for outputs by path or by the source's own name, by path.

    names: one for each path, else they are of no use. what: the argument, for the message.
    Raises ModelError for an unknown or doubled key.
    """
    known = dict(zip(names, paths, strict=True)) if len(names) == len(paths) else {}
    known |= {path: path for path in paths}
    found: dict[str, Any] = {}
    for key, value in given.items():
        if key not in known:
            raise ModelError(f"{what} names {key!r}; the model's outputs are {_listing(known)}")
        if known[key] in found:
            raise ModelError(f"{what} names {known[key]!r} twice, by path and by name")
        found[known[key]] = value
    return found


def expected_leaves(
    actual: Nested, expected: Nested, names: Sequence[str] = ()
) -> list[tuple[str, Array]]:
    """Return (path, expected array) for each output of `actual` that has an expectation.

    expected: the same structure as `actual`, where a list stands for a tuple and a plain sequence
    of numbers for an array; or a dict by path or name, of those outputs that are to be compared.
    Raises ModelError when the structure differs.
    """
    if not isinstance(expected, Mapping):
        return list(_matched(actual, expected, ROOT))
    if not expected:
        raise ModelError("expected is an empty dict: name at least one output")
    paths = [path for path, _ in flatten(actual)]
    return [
        (path, _array(value))
        for path, value in paths_of(expected, paths, names, "expected").items()
    ]


def _matched(actual: Nested, expected: Nested, path: str) -> Iterator[tuple[str, Array]]:
    if not isinstance(actual, (tuple, list)):
        yield path, _array(expected)
        return
    if not isinstance(expected, (tuple, list)) or len(expected) != len(actual):
        raise ModelError(
            f"the model returns a tuple of {len(actual)}, expected is "
            + (f"one of {len(expected)}" if isinstance(expected, (tuple, list)) else "one array")
        )
    for index, (one, other) in enumerate(zip(actual, expected, strict=True)):
        yield from _matched(one, other, f"{path}[{index}]")


def _array(expected: Any) -> Array:
    if not isinstance(expected, (bool, int, float, tuple, list)):
        return as_numpy(expected)
    try:
        array = np.asarray(expected)
    except ValueError:
        array = np.asarray(None)
    if array.dtype.kind not in "biuf":
        count = f" of {len(expected)}" if isinstance(expected, (tuple, list)) else ""
        raise ModelError(
            f"expected is a {type(expected).__name__}{count}, the model returns one array"
        )
    return array


def _listing(known: Mapping[str, str]) -> str:
    shown = [path if path == key else f"{path} ({key})" for key, path in known.items()]
    return ", ".join(shown[:12]) + (", ..." if len(shown) > 12 else "")
