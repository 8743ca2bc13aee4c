"""A Model: what importing makes of every source."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from pytest_tvmtune.core.error_text import cause_of
from pytest_tvmtune.core.errors import ModelError, counted
from pytest_tvmtune.core.settings.dimension_sizes import DynamicInput
from pytest_tvmtune.core.tensors.dtypes import to_plain
from pytest_tvmtune.core.tensors.signature import Array, Signature, TensorSpec, bind_arrays, made_up
from pytest_tvmtune.processes.shared_arrays import (
    LARGE_BYTES,
    SharedArrays,
    releasing_pages,
    share_arrays,
)
from pytest_tvmtune.relax import compat
from pytest_tvmtune.relax.index_bounds import index_bounds

if TYPE_CHECKING:
    from tvm.ir import IRModule

Params = Mapping[str, object] | Sequence[object] | None
# Made-up weights stay small, so that deep models don't overflow.
_PARAM_SCALE = 0.1


class Reference(Protocol):
    """Another runtime that the source of a model can be run with."""

    def __call__(self, *inputs: Array) -> Any:
        """Return the outputs for the runtime inputs, in order. Raises ModelError."""

    def save(self, path: Path) -> None:
        """Write the model for a process that runs it with this runtime. Raises ModelError."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Model:
    """An IRModule with one entry function, its parameters and example inputs.

    library: the bytes of a library that is compiled already, instead of a module. original: the
    model before the user's own pipeline made `mod` of it. shared_arrays: what keeps the files of
    large parameters.
    params: every parameter of the entry after its runtime inputs, original order and shapes.
    output_names: what its source calls its outputs, in order, where it does.
    references: who else can compute its outputs, by name. dynamic: inputs whose shapes were not
    static in the source.
    """

    mod: IRModule | None
    name: str
    signature: Signature
    params: tuple[Array, ...]
    inputs: tuple[Array, ...]
    output_names: tuple[str, ...] = ()
    references: Mapping[str, Reference] = field(default_factory=dict)
    dynamic: tuple[DynamicInput, ...] = ()
    library: bytes | None = None
    original: Model | None = None
    shared_arrays: SharedArrays | None = None

    @property
    def is_ready(self) -> bool:
        """Whether the stock pipeline has nothing to do for it any more: it is never tuned."""
        return self.library is not None or self.original is not None

    @cached_property
    def mod_hash(self) -> str:
        """The module's structural hash: constants included, source positions not.

        Of a ready library it is the SHA-256.
        """
        import tvm_ffi

        if self.library is not None:
            return hashlib.sha256(self.library).hexdigest()

        return f"{int(tvm_ffi.structural_hash(self.mod)) & (2**64 - 1):016x}"

    @cached_property
    def data_digest(self) -> str:
        """SHA-256 of all parameters and inputs: what a first run was made with."""
        with releasing_pages(self.params):
            return _digest_of((*self.params, *self.inputs))

    @property
    def params_digest(self) -> str:
        """SHA-256 of all parameters."""
        with releasing_pages(self.params):
            return _digest_of(self.params)


def _digest_of(arrays: Iterable[Array]) -> str:
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(f"{array.dtype}{array.shape}".encode())
        digest.update(np.asarray(to_plain(array), order="C").data)
    return digest.hexdigest()


def with_shared_params(model: Model, scratch: Path) -> Model:
    """Return the model with its parameters in files below `scratch`, where they are large.

    All processes of a run share those files, and the caller doesn't need to keep its arrays.
    """
    if sum(array.nbytes for array in model.params) < LARGE_BYTES:
        return model
    shared_arrays = share_arrays(model.params, scratch)
    return replace(model, params=shared_arrays.arrays, shared_arrays=shared_arrays)


def make_model(
    mod: IRModule,
    *,
    name: str,
    entry: str | None,
    params: Params,
    inputs: Mapping[str, object] | Sequence[object] | None,
    seed: int,
    input_names: Sequence[str] | None = None,
) -> Model:
    """Check a module and everything given with it, make up what wasn't given.

    input_names: the source's own names of the runtime inputs, where an importer renamed them.
    Raises ModelError for a module that isn't well formed, an unknown entry, dynamic shapes, and
    for parameters and inputs that don't fit.
    """
    _check_well_formed(mod)
    entry = pick_entry(mod, entry)
    given_params = None if params is None else plain_params(params, entry)
    signature = _signature(mod, entry, given_params)
    if input_names is not None:
        named = zip(signature.inputs, input_names, strict=True)
        signature = replace(
            signature, inputs=tuple(replace(spec, name=name) for spec, name in named)
        )
    rng = np.random.default_rng(seed)
    if given_params is None:
        bound = [made_up(spec, rng, scale=_PARAM_SCALE) for spec in signature.params]
    else:
        bound = bind_arrays(signature.params, given_params, "parameter")
    if inputs is None:
        bounds = index_bounds(mod[entry], len(signature.inputs))
        chosen = [
            made_up(spec, rng, below=bounds.get(index))
            for index, spec in enumerate(signature.inputs)
        ]
    else:
        chosen = bind_arrays(signature.inputs, inputs, "input")
    return Model(mod=mod, name=name, signature=signature, params=tuple(bound), inputs=tuple(chosen))


def entry_names(mod: IRModule) -> list[str]:
    """Return the names of the Relax functions that can be called from outside, sorted."""
    from tvm import relax

    return sorted(
        str(var.name_hint)
        for var, function in mod.functions_items()
        if isinstance(function, relax.Function)
        and function.attrs
        and "global_symbol" in function.attrs
    )


def _check_well_formed(mod: IRModule) -> None:
    from tvm import relax

    try:
        relax.analysis.well_formed(mod)
    except Exception as error:  # TVM raises several types here
        raise ModelError(
            f"the module is not well formed: {cause_of(error)}; "
            "check it with tvm.relax.analysis.well_formed(mod)"
        ) from error


def pick_entry(mod: IRModule, entry: str | None) -> str:
    """Return the entry that is meant. Raises ModelError."""
    names = entry_names(mod)
    if entry is not None:
        if entry not in names:
            raise ModelError(f"no entry {entry!r}; the module has {', '.join(names) or 'none'}")
        return entry
    if len(names) == 1:
        return names[0]
    if "main" in names:
        return "main"
    if not names:
        raise ModelError("the module has no Relax function with a global_symbol to call")
    raise ModelError(
        f"the module has several entries ({', '.join(names)}); choose one, such as "
        f"entry={names[0]!r}"
    )


def _signature(mod: IRModule, entry: str, params: Params) -> Signature:
    function = mod[entry]
    specs = [_tensor_spec(entry, param) for param in function.params]
    num_input = function.attrs.get("num_input") if function.attrs else None
    if num_input is None:
        # Without the attribute nothing says where parameters begin, except how many were given.
        first_param = len(specs) - len(params) if params else len(specs)
        if first_param < 0:
            raise ModelError(
                f"too many parameters: {len(params or ())} given, but {entry} takes "
                f"{counted(len(specs), 'argument')} in all"
            )
    else:
        first_param = int(num_input)
    return Signature(
        entry=entry,
        inputs=tuple(specs[:first_param]),
        params=tuple(specs[first_param:]),
        lifts_params=num_input is not None,
    )


def _tensor_spec(entry: str, param: Any) -> TensorSpec:
    name, ty = compat.name_of(param), compat.type_of(param)
    if not isinstance(ty, compat.tensor_type()):
        raise ModelError(
            f"{entry}: parameter {name!r} is {ty}, but an entry takes only tensors; "
            "make it a tensor, or compute it in the function"
        )
    return spec_of_type(name, ty, entry)


def spec_of_type(name: str, ty: Any, entry: str) -> TensorSpec:
    """Return the TensorSpec of a Relax tensor type.

    Raises ModelError when its shape isn't static.
    """
    dims = list(ty.shape) if ty.shape is not None else None
    if dims is None or any(not hasattr(dim, "value") and not isinstance(dim, int) for dim in dims):
        raise ModelError(
            f"{entry}: {name!r} is {ty}; static_shape_tuning_pipeline needs static shapes, "
            "so bind the symbolic dimensions (relax.transform.BindSymbolicVars)"
        )
    return TensorSpec(name=name, shape=tuple(int(dim) for dim in dims), dtype=str(ty.dtype))


def plain_params(params: Any, entry: str) -> Mapping[str, object] | Sequence[object]:
    """Unwrap the forms TVM itself uses: [(name, tensor)], {entry: [tensor]}."""
    if isinstance(params, Mapping):
        if entry in params and isinstance(params[entry], (list, tuple)):
            return list(params[entry])
        return dict(params)
    if not isinstance(params, Iterable) or isinstance(params, (str, bytes)):
        raise ModelError(f"params is a {type(params).__name__}; give a list or a dict of arrays")
    values = list(params)
    if values and all(
        isinstance(one, tuple) and len(one) == 2 and isinstance(one[0], str) for one in values
    ):
        return dict(values)
    return values
