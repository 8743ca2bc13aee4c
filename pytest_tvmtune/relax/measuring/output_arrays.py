"""What an entry returns, as numpy arrays."""

from __future__ import annotations

from typing import Any

import numpy as np

from pytest_tvmtune.core.errors import ModelError
from pytest_tvmtune.core.tensors.nested_outputs import ROOT


def to_numpy(value: Any, path: str = ROOT) -> Any:
    """Return copies of an entry's outputs: arrays, in nested tuples as the entry has them.

    A shape is an array of int64, a number one without dimensions. path: what messages call it.
    Raises ModelError for anything else, which can't be compared.
    """
    import tvm_ffi

    if isinstance(value, tvm_ffi.Shape):
        return np.array(value, "int64")
    if isinstance(value, (bool, int, float)):
        return np.array(value)
    if hasattr(value, "numpy"):
        return np.array(value.numpy(), copy=True)
    if isinstance(value, (tvm_ffi.Array, tuple, list)):
        return tuple(to_numpy(item, f"{path}[{index}]") for index, item in enumerate(value))
    kind = "a string" if isinstance(value, str) else f"a {type(value).__name__}"
    raise ModelError(
        f"{path} is {'null' if value is None else kind}, but only tensors, shapes, and numbers can "
        "be compared, alone or in tuples; don't return it from the entry"
    )
