"""Element types beyond numpy's own, as ml_dtypes adds them: bfloat16, float8, int4."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

# (bits of the mantissa, smallest exponent of a normal number) of IEEE 754's types and OCP's;
# numpy.finfo knows only the first three.
FLOATS: Mapping[str, tuple[int, int]] = {
    "float64": (52, -1022),
    "float32": (23, -126),
    "float16": (10, -14),
    "bfloat16": (7, -126),
    "float8_e3m4": (4, -2),
    "float8_e4m3": (3, -6),
    "float8_e4m3fn": (3, -6),
    "float8_e4m3fnuz": (3, -7),
    "float8_e4m3b11fnuz": (3, -10),
    "float8_e5m2": (2, -14),
    "float8_e5m2fnuz": (2, -15),
}

_USER_DEFINED = 2  # what numpy.dtype.isbuiltin says of types that other modules register


def dtype_of(name: str) -> np.dtype[Any]:
    """Return the dtype of this name. Raises TypeError when numpy and ml_dtypes have none."""
    try:
        return np.dtype(name)
    except TypeError:
        # Importing it makes its names known. TVM needs it, so it is there.
        import ml_dtypes  # noqa: F401

        return np.dtype(name)


def is_real(dtype: np.dtype[Any]) -> bool:
    """Whether elements are real numbers or bools."""
    # The types of ml_dtypes are of kind V, as structured arrays are.
    return dtype.kind in "biuf" or (dtype.kind == "V" and not issubclass(dtype.type, np.void))


def to_plain(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Return an array in the same bits that a .npy file can hold: unsigned for ml_dtypes' types."""
    if array.dtype.isbuiltin != _USER_DEFINED:
        return array
    return np.asarray(array, order="C").view(f"u{array.dtype.itemsize}")


def from_plain(array: npt.NDArray[Any], name: str) -> npt.NDArray[Any]:
    """Return the array that `to_plain` made plain. name: of its dtype.

    Raises TypeError for a name that no dtype has, ValueError when the array can't be of it.
    """
    dtype = dtype_of(name)
    if dtype.isbuiltin == _USER_DEFINED and array.dtype == np.dtype(f"u{dtype.itemsize}"):
        return array.view(dtype)
    if array.dtype != dtype:
        raise ValueError(f"its dtype is {array.dtype}, not {name}")
    return array
