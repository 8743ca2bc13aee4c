"""Symbolic dimensions of TVM's own modules, bound to numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from pytest_tvmtune.core.errors import ImporterError
from pytest_tvmtune.core.settings.dimension_sizes import UNSET_SIZE, Dims, DynamicInput, check_names
from pytest_tvmtune.core.tensors.signature import normalise_name
from pytest_tvmtune.relax import compat

if TYPE_CHECKING:
    from tvm.ir import IRModule


def bind_symbolic(
    mod: IRModule, entry: str, inputs: Any, dims: Dims
) -> tuple[IRModule, tuple[DynamicInput, ...]]:
    """Return a module whose entry has static shapes, as far as its dimensions are variables.

    inputs: those that are given, whose sizes count first, then those of `dims`.
    Raises GivenError for a name that the test sets and the entry doesn't have.
    """
    from tvm import relax

    function = mod[entry]
    params = list(function.params)
    shapes = [_dims(param) for param in params]
    if function.attrs and "num_input" in function.attrs:
        params, shapes = (one[: int(function.attrs["num_input"])] for one in (params, shapes))
    known = {**dims.sizes, **_given(params, shapes, inputs)}
    variables = {str(dim.name): dim for dim in relax.analysis.free_symbolic_vars(function)}
    variables |= {str(dim.name): dim for dim in relax.analysis.defined_symbolic_vars(function)}
    for number in function.params:  # one that is itself a parameter is no dimension to choose
        variables.pop(compat.name_of(number), None)
    dynamic = []
    for param, shape in zip(params, shapes, strict=True):
        declared = tuple(int(dim) if hasattr(dim, "value") else str(dim) for dim in shape)
        if any(isinstance(dim, str) for dim in declared):
            dynamic.append(
                DynamicInput(
                    name=compat.name_of(param),
                    declared=declared,
                    sizes=tuple(
                        d if isinstance(d, int) else known.get(d, UNSET_SIZE) for d in declared
                    ),
                    unset=tuple(
                        i for i, d in enumerate(declared) if d in variables and d not in known
                    ),
                )
            )
    check_names(dims, dynamic, f"the module's {entry}")
    if not variables:
        return mod, ()
    sizes = {name: known.get(name, UNSET_SIZE) for name in variables}
    return relax.transform.BindSymbolicVars(sizes, entry)(mod), tuple(dynamic)


def check_sizes(mod: IRModule, entry: str, dynamic: Sequence[DynamicInput]) -> None:
    """Raise ImporterError where the sizes of dynamic inputs are too small for a model.

    That is where a tensor has a negative size. It is also where an output is empty while nothing
    sets the size of a dimension: such an output would be right regardless of the computation.
    """
    from tvm import relax

    negative = []

    def visit(expr: Any) -> None:
        if isinstance(expr, relax.Var) and any(
            size < 0 for size in _sizes_in(compat.type_of(expr))
        ):
            negative.append(str(compat.type_of(expr)))

    if not dynamic:
        return
    relax.analysis.post_order_visit(mod[entry], visit)
    outputs = compat.return_type_of(mod[entry])
    problem = f"a tensor in the model has the shape {negative[0]}" if negative else ""
    if any(one.unset for one in dynamic) and 0 in _sizes_in(outputs):
        problem = problem or f"an output is empty: {outputs}"
    if problem:
        error = ImporterError(f"its inputs are too small: {problem}")
        error.dynamic = dynamic
        raise error


def _sizes_in(ty: Any) -> list[int]:
    """Return all sizes in a type, of tensors in tuples, too; none for those that aren't numbers."""
    fields = getattr(ty, "fields", None)
    if fields is not None:
        return [size for one in fields for size in _sizes_in(one)]
    return [int(dim) for dim in getattr(ty, "shape", None) or () if hasattr(dim, "value")]


def _dims(param: Any) -> list[Any]:
    shape = getattr(compat.type_of(param), "shape", None)
    return [] if shape is None else list(shape)


def _given(params: Sequence[Any], shapes: Sequence[list[Any]], inputs: Any) -> dict[str, int]:
    """Return the sizes that given inputs have where a dimension has a name."""
    if isinstance(inputs, Mapping):
        by_name = {normalise_name(str(name)): value for name, value in inputs.items()}
        values = [by_name.get(normalise_name(compat.name_of(param))) for param in params]
    else:
        values = list(inputs or ())
    return {
        str(dim): size
        for shape, value in zip(shapes, values, strict=False)
        if value is not None
        for dim, size in zip(shape, np.shape(value), strict=False)
    }
