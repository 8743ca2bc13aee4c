"""A Model from torch: an nn.Module with example inputs, or an ExportedProgram."""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pytest_tvmtune.core.error_text import typed_cause_of
from pytest_tvmtune.core.errors import ModelError, counted
from pytest_tvmtune.core.settings.dimension_sizes import Dims, DynamicInput, check_names
from pytest_tvmtune.core.tensors.signature import Array, as_numpy, normalise_name
from pytest_tvmtune.machine.import_errors import import_package
from pytest_tvmtune.relax.importing.importer_errors import quiet
from pytest_tvmtune.relax.importing.torch.dynamic_dims import sized_inputs
from pytest_tvmtune.relax.importing.torch.exported_program import (
    leaf_of,
    program_call,
    read_program,
    user_inputs,
)
from pytest_tvmtune.relax.importing.torch.torch_reference import TorchReference, eval_mode
from pytest_tvmtune.relax.importing.torch.tvm_importer import import_program, is_tensor
from pytest_tvmtune.relax.model import Reference

if TYPE_CHECKING:
    from torch.export import ExportedProgram
    from tvm.ir import IRModule

TorchInputs = Mapping[str, object] | Sequence[object] | None
_INSTALL = "pip install 'pytest-tvmtune[torch]'"


@dataclass(frozen=True, kw_only=True, eq=False)
class TorchImport:
    """An imported program.

    params: parameters, buffers and constant tensors by name, on the module's own memory.
    inputs: an array for each input of the entry, in order; None: no inputs were given.
    reference: computes the outputs in torch, from one array for each input of the entry.
    """

    mod: IRModule
    params: dict[str, Array]
    inputs: list[Array] | None
    dynamic: tuple[DynamicInput, ...]
    reference: Reference


def is_torch(source: Any) -> bool:
    """Return whether `source` is an nn.Module or an ExportedProgram.

    It can be only if the process has imported torch.
    """
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(source, (torch.nn.Module, torch.export.ExportedProgram))


def load_torch(source: Any, inputs: TorchInputs, dims: Dims) -> TorchImport:
    """Import a torch model with static shapes; parameters and buffers are parameters of `main`.

    source: an nn.Module, exported in eval mode and left in the mode it was in, an ExportedProgram,
    or the path of one that torch.export.save wrote. inputs: what it is called with, in order or by
    name: torch tensors or arrays, in nested containers where the model takes them, and plain
    values, which become constants. None: the program's own example inputs, unless `dims` sets a
    dimension of its inputs: those are then made up. Outputs are the tensors
    that the model returns, those of nested containers in one flat tuple.
    Raises ModelError, UnsupportedOperatorError.
    """
    torch = import_package("torch", f"reading {source}", _INSTALL)
    from torch.utils._pytree import tree_leaves

    label = f"torch module {type(source).__name__}"
    module = None
    dynamic: tuple[DynamicInput, ...] = ()
    if isinstance(source, (str, os.PathLike)):
        label, source = str(source), read_program(Path(source))
    elif isinstance(source, torch.export.ExportedProgram):
        label = "ExportedProgram"
    if isinstance(source, torch.export.ExportedProgram):
        program = source
        leaves = _leaves(program, inputs)
        if program.range_constraints:
            # The stock pipeline needs static shapes: those of the inputs.
            sized = sized_inputs(program, leaves, given=inputs is not None, dims=dims, label=label)
            args, kwargs = program_call(program, sized.leaves)
            dynamic, leaves = sized.dynamic, None if sized.made_up else sized.leaves
            try:
                program = _export(program.module(), args, kwargs, label)
            except ModelError as error:
                error.dynamic = dynamic if sized.made_up else ()
                raise
    else:
        module = source
        args, kwargs = _arguments(inputs)
        if any(part.training for part in module.modules()):
            warnings.warn(
                f"{label} is in training mode, but it is compiled and compared in eval mode; "
                "call .eval() on it",
                stacklevel=2,
            )
        with eval_mode(module):
            program = _export(module, args, kwargs, label)
        leaves = tree_leaves(program.example_inputs)
    mod, params = import_program(program, label)
    given = None if leaves is None else _arrays(program, leaves)
    check_names(dims, dynamic, label)
    return TorchImport(
        mod=mod,
        params=params,
        inputs=given,
        dynamic=dynamic,
        reference=TorchReference(program=program, module=module),
    )


def _arguments(inputs: TorchInputs) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Return (args, kwargs) of a module's call, in torch's tensors."""
    from torch.utils._pytree import tree_map

    if inputs is None:
        raise ModelError(
            "a torch module needs example inputs; give tvm_tune(module, inputs=(x,)), "
            "or inputs={'x': x} by the names of its arguments"
        )
    if isinstance(inputs, Mapping):
        return (), {str(name): tree_map(leaf_of, value) for name, value in inputs.items()}
    if not isinstance(inputs, (list, tuple)):
        raise ModelError(f"inputs is a {type(inputs).__name__}; give a tuple: inputs=(x,)")
    return tuple(tree_map(leaf_of, value) for value in inputs), {}


def _export(
    module: Any, args: tuple[Any, ...], kwargs: dict[str, Any], label: str
) -> ExportedProgram:
    import torch

    try:
        with torch.no_grad(), quiet():
            return torch.export.export(module, args, kwargs)
    except Exception as error:  # it raises whatever the module raises
        raise ModelError(
            f"{label}: torch.export can't export it with these inputs: {typed_cause_of(error)}"
        ) from error


def _leaves(program: ExportedProgram, inputs: TorchInputs) -> list[Any] | None:
    """Return the value of each input of a program, its constants too; None if none were given.

    inputs: by the names in the program, or in order, with or without the program's constants.
    """
    from torch.utils._pytree import tree_leaves

    specs = user_inputs(program)
    if inputs is None:
        return None if program.example_inputs is None else tree_leaves(program.example_inputs)
    wanted = [spec.arg.name for spec in specs if is_tensor(spec)]
    if isinstance(inputs, Mapping):
        named = {normalise_name(str(name)): value for name, value in inputs.items()}
        if set(named) != set(wanted):
            raise ModelError(
                f"inputs has {', '.join(map(str, inputs)) or 'none'}, "
                f"but the program takes {', '.join(wanted)}"
            )
        given = [named[name] for name in wanted]
    else:
        given = tree_leaves(tuple(inputs))
        if len(given) == len(specs):
            return [_checked(spec, value) for spec, value in zip(specs, given, strict=True)]
        if len(given) != len(wanted):
            raise ModelError(
                f"{counted(len(given), 'input')} given, but the program takes {len(wanted)}: "
                f"{', '.join(wanted)}"
            )
    left = iter(given)
    return [next(left) if is_tensor(spec) else spec.arg.value for spec in specs]


def _checked(spec: Any, value: Any) -> Any:
    if not is_tensor(spec) and value != spec.arg.value:
        raise ModelError(
            f"the program was exported with {spec.arg.name}={spec.arg.value!r} as a constant; to "
            "use "
            f"{value!r}, export it again"
        )
    return value


def _arrays(program: ExportedProgram, leaves: Sequence[Any]) -> list[Array]:
    pairs = zip(user_inputs(program), leaves, strict=True)
    # Copies: the test may call a module of its own that changes its inputs in place.
    return [np.array(as_numpy(value)) for spec, value in pairs if is_tensor(spec)]
