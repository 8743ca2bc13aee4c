"""An exported program of torch: read from a file, and its arguments."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pytest_tvmtune.core.error_text import cause_of
from pytest_tvmtune.core.errors import ModelError
from pytest_tvmtune.core.tensors.signature import Array, as_numpy
from pytest_tvmtune.relax.importing.importer_errors import require_file

if TYPE_CHECKING:
    import torch
    from torch.export import ExportedProgram


def read_program(path: Path) -> ExportedProgram:
    """Return what `torch.export.save` wrote."""
    import torch

    require_file(path)
    try:
        return torch.export.load(str(path))
    except Exception as error:  # torch raises whatever its readers raise
        raise ModelError(
            f"{path}: torch.export.load can't read it: {cause_of(error)}; "
            "write it with torch.export.save(program, path)"
        ) from error


def leaf_of(value: Any) -> Any:
    """Return torch's tensor of an array; plain values as they are."""
    import torch

    is_array = hasattr(value, "__array__") or hasattr(value, "__dlpack__")
    return tensor_of(as_numpy(value)) if is_array and not isinstance(value, torch.Tensor) else value


def tensor_of(array: Array) -> torch.Tensor:
    """Return a copy of an array as a tensor of torch."""
    import torch

    copy = np.array(array, order="C")  # torch takes only writable ones
    if copy.dtype.kind == "V":
        bits = torch.from_numpy(copy.view(f"i{copy.dtype.itemsize}"))
        dtype: torch.dtype = getattr(torch, copy.dtype.name)
        return bits.view(dtype)
    return torch.from_numpy(copy)


def user_inputs(program: ExportedProgram) -> list[Any]:
    """Return the specs of a program's runtime inputs, constants included."""
    specs = program.graph_signature.input_specs
    return [spec for spec in specs if spec.kind.name == "USER_INPUT"]


def program_call(program: ExportedProgram, leaves: Sequence[Any]) -> tuple[Any, Any]:
    """Return (args, kwargs) of the program's call."""
    from torch.utils._pytree import tree_unflatten

    args, kwargs = tree_unflatten([leaf_of(value) for value in leaves], program.call_spec.in_spec)
    return args, kwargs
