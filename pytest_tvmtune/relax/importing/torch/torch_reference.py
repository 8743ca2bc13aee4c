"""torch as the reference of a model that came from it: its outputs, and its time."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytest_tvmtune.core.error_text import cause_of
from pytest_tvmtune.core.errors import ModelError
from pytest_tvmtune.core.tensors.signature import Array, as_numpy
from pytest_tvmtune.relax.importing.torch.exported_program import (
    program_call,
    read_program,
    tensor_of,
    user_inputs,
)
from pytest_tvmtune.relax.importing.torch.tvm_importer import is_tensor

if TYPE_CHECKING:
    from torch.export import ExportedProgram


@dataclass(frozen=True, kw_only=True, eq=False)
class TorchReference:
    """The model in torch: the module itself, else the exported program."""

    program: ExportedProgram
    module: Any

    def __call__(self, *inputs: Array) -> Any:
        """Return what torch computes. Raises ModelError."""
        import torch
        from torch.utils._pytree import tree_leaves

        runs = self.program.module() if self.module is None else self.module
        device = next((str(tensor.device) for tensor in runs.parameters()), "cpu")
        args, kwargs = call_arguments(self.program, inputs, device=device)
        # An exported program has its mode built in, and refuses to be asked for another.
        mode = contextlib.nullcontext() if self.module is None else eval_mode(self.module)
        try:
            with torch.no_grad(), mode:
                result = runs(*args, **kwargs)
        except Exception as error:  # the model's own code, which may raise anything
            raise ModelError(f"torch can't compute the outputs: {cause_of(error)}") from error
        if isinstance(result, torch.Tensor):
            return as_numpy(result)
        return tuple(as_numpy(v) for v in tree_leaves(result) if isinstance(v, torch.Tensor))

    def save(self, path: Path) -> None:
        """Write the exported program. Raises ModelError."""
        import torch

        try:
            with path.open("wb") as file:
                torch.export.save(self.program, file)
        except Exception as error:  # torch raises whatever its writers raise
            raise ModelError(
                f"torch.export.save can't write the model: {cause_of(error)}"
            ) from error


def open_timed(path: Path, inputs: Sequence[Array], *, num_threads: int) -> Callable[[], object]:
    """Return a function that runs an exported program once, without gradients.

    Args:
        path: The program, as `torch.export.save` wrote it.
        inputs: Of the entry, in order.
        num_threads: Of torch, for a call.

    Raises:
        ModelError: torch can't read or call it.

    """
    import torch

    torch.set_num_threads(num_threads)
    program = read_program(path)
    runs = program.module()
    args, kwargs = call_arguments(program, inputs)

    def run() -> None:
        with torch.no_grad():
            runs(*args, **kwargs)

    return run


def call_arguments(
    program: ExportedProgram, inputs: Sequence[Array], *, device: str = "cpu"
) -> tuple[Any, Any]:
    """Return (args, kwargs) of a program's call, with these runtime inputs, in order."""
    left = iter(inputs)
    return program_call(
        program,
        [
            tensor_of(next(left)).to(device) if is_tensor(spec) else spec.arg.value
            for spec in user_inputs(program)
        ],
    )


@contextlib.contextmanager
def eval_mode(module: Any) -> Iterator[None]:
    """Put a module in eval mode, and afterwards in the mode that it was in."""
    before = [(part, part.training) for part in module.modules()]
    module.eval()
    try:
        yield
    finally:
        # The user's own train() may do more than set the flags, which need not all be equal.
        if before[0][1]:
            module.train()
        for part, training in before:
            part.training = training
