"""Which inputs of a function index an axis, and how long that is."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

from pytest_tvmtune.relax import compat

# Operators that hand indices on as they are, of which some may be left out.
_HAND_ON = frozenset(
    f"relax.{name}"
    for name in (
        "astype",
        "broadcast_to",
        "concat",
        "expand_dims",
        "flatten",
        "permute_dims",
        "reshape",
        "split",
        "squeeze",
        "stack",
        "strided_slice",
    )
)


def index_bounds(function: Any, num_inputs: int) -> dict[int, int]:
    """Return, for each of the first inputs whose values index an axis, below what they must stay.

    That is the size of the shortest axis. An integer from which indices are computed must stay
    below 1: what comes of another one isn't known.
    """
    from tvm import relax

    values = relax.analysis.get_var2val(function)
    positions = {param: index for index, param in enumerate(function.params[:num_inputs])}
    bounds: dict[int, int] = {}
    for value in list(values.values()):
        for index, size in _indices(value):
            for position, bound in _sources(index, size, values, positions):
                bounds[position] = min(bound, bounds.get(position, bound))
    return bounds


def _indices(call: Any) -> Iterator[tuple[Any, int]]:
    """Return (indices, size of the indexed dimension or tensor) of a call."""
    name, arguments, attrs = _parts(call)
    if name == "relax.one_hot":
        yield arguments[0], int(attrs.depth)
        return
    shape = _shape(arguments[0]) if arguments else None
    if shape is None or len(arguments) < 2:
        return
    if name == "relax.take":
        axis = attrs.axis
        yield arguments[1], math.prod(shape) if axis is None else shape[int(axis)]
    elif name in {"relax.gather_elements", "relax.scatter_elements"}:
        yield arguments[1], shape[int(attrs.axis)]
    elif name in {"relax.gather_nd", "relax.scatter_nd"}:
        first = int(getattr(attrs, "batch_dims", 0))
        depth = (_shape(arguments[1]) or (len(shape),))[-1]
        yield arguments[1], min(shape[first : first + depth], default=1)
    elif name in {"relax.index_tensor", "relax.index_put"}:
        fields = _fields(arguments[1])
        yield from zip(fields, shape[: len(fields)], strict=False)
    elif name == "relax.nn.nll_loss":
        yield arguments[1], shape[1 if len(shape) > 1 else 0]


def _sources(
    index: Any, size: int, values: Any, positions: dict[Any, int]
) -> Iterator[tuple[int, int]]:
    """Return (position, bound) of the inputs that indices come from."""
    stack, seen = [(index, max(1, size))], set()
    while stack:
        expr, bound = stack.pop()
        if (expr, bound) in seen:
            continue
        seen.add((expr, bound))
        if expr in positions:
            yield positions[expr], bound
            continue
        name, arguments, _ = _parts(values.get(expr, expr))
        if name == "relax.where":
            arguments = _branches(arguments, values)
        elif name not in _HAND_ON:
            # Of what the indices are computed from, integers alone are worth to be changed.
            arguments = [one for one in arguments if _is_integer(one)]
            bound = 1
        stack += [(one, bound) for argument in arguments for one in _fields(argument)]


def _branches(arguments: list[Any], values: Any) -> list[Any]:
    """Return the choices of a `where`, without the sum that importers make for negative indices."""
    _, one, other = arguments
    name, added, _ = _parts(values.get(one, one))
    return [other] if name == "relax.add" and added[0].same_as(other) else [one, other]


def _parts(expr: Any) -> tuple[str, list[Any], Any]:
    """Return operator, arguments, and attributes of a call; of all others, only their parts."""
    from tvm import relax

    if isinstance(expr, relax.Call):
        return str(getattr(expr.op, "name", "")), list(expr.args), expr.attrs
    if isinstance(expr, relax.TupleGetItem):
        return "relax.split", [expr.tuple_value], None
    return "relax.concat", _fields(expr) if isinstance(expr, relax.Tuple) else [], None


def _fields(expr: Any) -> list[Any]:
    from tvm import relax

    return list(expr.fields) if isinstance(expr, relax.Tuple) else [expr]


def _shape(expr: Any) -> tuple[int, ...] | None:
    dims = getattr(compat.type_of(expr), "shape", None)
    if dims is None or not all(hasattr(dim, "value") for dim in dims):
        return None
    return tuple(int(dim) for dim in dims)


def _is_integer(expr: Any) -> bool:
    return str(getattr(compat.type_of(expr), "dtype", "")).startswith(("int", "uint"))
