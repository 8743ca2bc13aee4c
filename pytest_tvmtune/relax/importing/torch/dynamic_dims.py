"""Dynamic dimensions of exported programs: the inputs that give each a size."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pytest_tvmtune.core.errors import GivenError
from pytest_tvmtune.core.settings.dimension_sizes import UNSET_SIZE, Dims, DynamicInput, check_names
from pytest_tvmtune.relax.importing.torch.tvm_importer import is_tensor

if TYPE_CHECKING:
    from torch.export import ExportedProgram


@dataclass(frozen=True, kw_only=True, eq=False)
class SizedInputs:
    """Values for each input of a program, its constants too, and its dynamic inputs.

    made_up: the values have the right shapes and no other meaning.
    """

    leaves: list[Any]
    dynamic: tuple[DynamicInput, ...]
    made_up: bool


def sized_inputs(
    program: ExportedProgram, leaves: Sequence[Any] | None, *, given: bool, dims: Dims, label: str
) -> SizedInputs:
    """Return the inputs by which a program's shapes become static.

    leaves: values of all inputs, None where there are none. given: whether the test gave them; else
    they are the program's own examples, and `dims` sets what they don't have to.
    Raises GivenError for a name or a size that the program doesn't have.
    """
    import torch

    values = _values(program)
    symbols = _symbols(program, values, leaves)
    names = {name for name, _ in symbols.values()}
    if leaves is not None and (given or not names & {*dims.sizes}):
        sizes = {symbol: size for symbol, (_, size) in symbols.items()}
        dynamic = _dynamic(values, sizes, set())
        check_names(dims, dynamic, label)
        return SizedInputs(leaves=list(leaves), dynamic=dynamic, made_up=False)
    sizes, unset = {}, set()
    for symbol, (name, size) in symbols.items():
        sizes[symbol] = dims.sizes.get(name, size or UNSET_SIZE)
        if name not in dims.sizes and not size:
            unset.add(name)
    dynamic = _dynamic(values, sizes, unset)
    check_names(dims, dynamic, label)
    _check_ranges(program, sizes, symbols, dynamic, label)
    made = [
        torch.zeros(_shape(value, sizes), dtype=value.dtype) if is_tensor(spec) else spec.arg.value
        for spec, value in values
    ]
    return SizedInputs(leaves=made, dynamic=dynamic, made_up=True)


def _values(program: ExportedProgram) -> list[tuple[Any, Any]]:
    """Return (spec, what tracing had in its place) of each input that the caller gives."""
    nodes = {node.name: node for node in program.graph.nodes if node.op == "placeholder"}
    return [
        (spec, nodes[spec.arg.name].meta.get("val") if is_tensor(spec) else None)
        for spec in program.graph_signature.input_specs
        if spec.kind.name == "USER_INPUT"
    ]


def _symbols(
    program: ExportedProgram, values: Sequence[tuple[Any, Any]], leaves: Sequence[Any] | None
) -> dict[Any, tuple[str, int]]:
    """Return symbol -> (name, size in the leaves, 0 without them), in the order of the inputs."""
    found: dict[Any, tuple[str, int]] = {}
    for index, (_, value) in enumerate(values):
        for axis, dim in enumerate(getattr(value, "shape", ())):
            expr = _expr(dim)
            if expr is not None and expr.is_Symbol and expr in program.range_constraints:
                size = 0 if leaves is None else int(leaves[index].shape[axis])
                found.setdefault(expr, (str(expr), size))
    return found


def _expr(dim: Any) -> Any:
    """Return sympy's expression of a dynamic size, None for a number."""
    return None if isinstance(dim, int) else dim.node.expr


def _shape(value: Any, sizes: dict[Any, int]) -> tuple[int, ...]:
    exprs = [(_expr(dim), dim) for dim in value.shape]
    return tuple(dim if expr is None else int(expr.subs(sizes)) for expr, dim in exprs)


def _dynamic(
    values: Sequence[tuple[Any, Any]],
    sizes: dict[Any, int],
    unset: set[str],
) -> tuple[DynamicInput, ...]:
    found = []
    for spec, value in values:
        declared = tuple(
            dim if _expr(dim) is None else str(_expr(dim)) for dim in getattr(value, "shape", ())
        )
        if any(isinstance(dim, str) for dim in declared):
            found.append(
                DynamicInput(
                    name=spec.arg.name,
                    declared=declared,
                    sizes=_shape(value, sizes),
                    unset=tuple(i for i, dim in enumerate(declared) if dim in unset),
                )
            )
    return tuple(found)


def _check_ranges(
    program: ExportedProgram,
    sizes: dict[Any, int],
    symbols: dict[Any, tuple[str, int]],
    dynamic: tuple[DynamicInput, ...],
    label: str,
) -> None:
    for symbol, (name, _) in symbols.items():
        accepted = program.range_constraints[symbol]
        if not accepted.lower <= sizes[symbol] <= accepted.upper:
            error = GivenError(
                f"{label}: the size {sizes[symbol]} of {name} is out of range; the program takes "
                f"{accepted.lower} to {accepted.upper}"
            )
            error.dynamic = dynamic
            raise error
