"""The inputs and parameters of an entry function, and the checks of given arrays."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from pytest_tvmtune.core.errors import GivenError, ModelError
from pytest_tvmtune.core.tensors.dtypes import FLOATS, dtype_of

Array = npt.NDArray[Any]
_PIECE = 1 << 16


@dataclass(frozen=True, kw_only=True)
class TensorSpec:
    """Name, static shape and numpy dtype name of one tensor; rank 0 has shape ()."""

    name: str
    shape: tuple[int, ...]
    dtype: str

    def __str__(self) -> str:
        return f"{self.name}: {self.dtype}[{', '.join(map(str, self.shape))}]"


@dataclass(frozen=True, kw_only=True)
class Signature:
    """The entry function of a model: runtime inputs first, then parameters.

    lifts_params: whether the function has the attribute `num_input`. Only then,
    `cpu_weight_prepack` makes a `<entry>_transform_params` for it.
    """

    entry: str
    inputs: tuple[TensorSpec, ...]
    params: tuple[TensorSpec, ...]
    lifts_params: bool

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values, stable enough to be compared between runs."""
        return {
            "entry": self.entry,
            "inputs": [[s.name, list(s.shape), s.dtype] for s in self.inputs],
            "params": [[s.name, list(s.shape), s.dtype] for s in self.params],
            "lifts_params": self.lifts_params,
        }

    @staticmethod
    def of_json(values: Mapping[str, Any]) -> Signature:
        """Return the signature that `to_json` made plain."""

        def specs(rows: Sequence[tuple[str, Sequence[int], str]]) -> tuple[TensorSpec, ...]:
            return tuple(
                TensorSpec(name=name, shape=tuple(shape), dtype=dtype)
                for name, shape, dtype in rows
            )

        return Signature(
            entry=values["entry"],
            inputs=specs(values["inputs"]),
            params=specs(values["params"]),
            lifts_params=values["lifts_params"],
        )


def normalise_name(name: str) -> str:
    """Return the Relax form of a tensor name: importers turn `.`, `:`, `/` and `-` into `_`."""
    return "".join(c if c.isalnum() or c == "_" else "_" for c in name)


def bind_arrays(
    specs: Sequence[TensorSpec], given: Mapping[str, object] | Sequence[object], what: str
) -> list[Array]:
    """Return one checked array for each spec, in the specs' order.

    given: arrays by name (names are compared as Relax writes them), or in order.
    what: "input" or "parameter", for the messages.
    Raises GivenError for a missing, surplus or unknown one, a wrong shape or dtype.
    """
    if isinstance(given, Mapping):
        values = _by_name(specs, given, what)
    else:
        values = list(given)
        if len(values) != len(specs):
            problem = "too few" if len(values) < len(specs) else "too many"
            raise GivenError(
                f"{problem} {what}s: {len(values)} given, but the model takes {len(specs)} "
                f"({_listing(specs)})"
            )
    return [check_array(spec, value, what) for spec, value in zip(specs, values, strict=True)]


def _by_name(specs: Sequence[TensorSpec], given: Mapping[str, object], what: str) -> list[object]:
    exact = {spec.name for spec in specs}
    loose = {normalise_name(spec.name): spec.name for spec in specs}
    found: dict[str, object] = {}
    for name, value in given.items():
        key = str(name) if str(name) in exact else loose.get(normalise_name(str(name)))
        if key is None:
            raise GivenError(f"unknown {what} {name!r}; the model takes {_listing(specs)}")
        if key in found:
            raise GivenError(
                f"{what} {name!r} is given twice, with two spellings; remove one of them"
            )
        found[key] = value
    missing = [str(spec) for spec in specs if spec.name not in found]
    if missing:
        raise GivenError(f"missing {what}: {', '.join(missing)}")
    return [found[spec.name] for spec in specs]


def check_array(spec: TensorSpec, value: object, what: str) -> Array:
    """Return `value` as an array after comparing shape and dtype with `spec`.

    Python numbers and lists take the wanted dtype; arrays must have it already, since a silent
    cast would hide the mistake. Raises GivenError.
    """
    if isinstance(value, (bool, int, float, list, tuple)):
        try:
            array = np.asarray(value, dtype=dtype_of(spec.dtype))
        except (TypeError, ValueError, OverflowError) as error:
            raise GivenError(f"{what} {spec} can't be made from {value!r}: {error}") from None
        if array.dtype.kind in "biu" and not np.array_equal(array, np.asarray(value)):
            raise GivenError(
                f"{what} {spec} can't be made from {value!r}: the conversion would change values"
            )
    else:
        array = as_numpy(value)
    if array.shape != spec.shape:
        hint = ""
        if array.shape == spec.shape[::-1] and array.ndim > 1:
            hint = "; it looks transposed; give it in the layout of the model"
        raise GivenError(
            f"{what} {spec.name!r} has shape {array.shape}, but the model takes {spec.shape}{hint}"
        )
    if array.dtype.name != spec.dtype:
        raise GivenError(
            f"{what} {spec.name!r} has dtype {array.dtype.name}, but the model takes {spec.dtype}; "
            f"convert it with array.astype({spec.dtype!r})"
        )
    return array


def as_numpy(value: object) -> Array:
    """Return numpy's view of an array: numpy, a tvm Tensor, or anything with DLPack or `numpy()`.

    Raises ModelError when it is none of them.
    """
    if isinstance(value, np.ndarray):
        return value
    if isinstance(value, np.generic):
        return np.asarray(value)
    to_numpy = getattr(value, "numpy", None)
    if callable(to_numpy):
        if hasattr(value, "detach"):
            return _of_torch(value)
        return np.asarray(to_numpy())
    if hasattr(value, "__array__"):
        return np.asarray(value)
    if hasattr(value, "__dlpack__"):
        try:
            return np.asarray(np.from_dlpack(value))
        except (BufferError, RuntimeError, TypeError) as error:
            raise ModelError(f"numpy can't read {type(value).__name__}: {error}") from None
    raise ModelError(f"{type(value).__name__} is not an array; give a numpy array or a tvm tensor")


def _of_torch(tensor: Any) -> Array:
    """Return numpy's view of a torch tensor, on its own memory where that is the CPU's."""
    tensor = tensor.detach().cpu()
    try:
        return np.asarray(tensor.numpy())
    except TypeError:
        # torch knows nothing of ml_dtypes: bfloat16 and float8 pass as the integers they lie in.
        dtype = dtype_of(str(tensor.dtype).removeprefix("torch."))
        bits = getattr(sys.modules["torch"], f"int{8 * dtype.itemsize}")
        return np.asarray(tensor.contiguous().view(bits).numpy().view(dtype))


def made_up(
    spec: TensorSpec, rng: np.random.Generator, *, scale: float = 1.0, below: int | None = None
) -> Array:
    """Return seeded values for a tensor that isn't given: normal floats, small whole numbers.

    scale: standard deviation of floats. Integers are 0 or 1, so that they stay valid as
    indices, axes and lengths. below: what indexes an axis of so many elements, or less, stays
    within it, floats too.
    """
    dtype = dtype_of(spec.dtype)
    if spec.dtype in FLOATS and below is None:
        values = np.empty(spec.shape, dtype)
        # Piece by piece, since they are drawn as doubles; numpy draws the same ones either way.
        flat = values.reshape(-1)
        for start in range(0, flat.size, _PIECE):
            piece = flat[start : start + _PIECE]
            piece[:] = rng.standard_normal(piece.size) * scale
        return values
    most = 2 if below is None else min(2, below)
    return np.asarray(rng.integers(0, most, spec.shape), dtype=dtype)


def _listing(specs: Sequence[TensorSpec]) -> str:
    shown = ", ".join(str(spec) for spec in specs[:8])
    return f"{shown}, ..." if len(specs) > 8 else shown or "none"
