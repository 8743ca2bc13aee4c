"""Numeric comparison of a model's outputs with the expected outputs."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Literal

from pytest_tvmtune.core.comparing.array_comparison import compare_arrays
from pytest_tvmtune.core.comparing.output_error import (
    ElementError,
    OutputError,
    OutputProblem,
    differing_words,
)
from pytest_tvmtune.core.comparing.tolerances import ELEMENTWISE, Tolerance, as_tolerance
from pytest_tvmtune.core.errors import counted
from pytest_tvmtune.core.results.comparison_result import ErrorResult
from pytest_tvmtune.core.tensors.dtypes import FLOATS, is_real
from pytest_tvmtune.core.tensors.nested_outputs import (
    Nested,
    OutputPair,
    flatten,
    names_by_path,
    pair_all_outputs,
    pair_outputs,
    paths_of,
)
from pytest_tvmtune.core.tensors.signature import Array

# What of dtypes must agree: nothing but the values, their kinds (float, integer, bool), or all.
Dtypes = Literal["values", "kinds", "names"]
_MOST_OUTPUTS = 5
_LEAST_PERCENT = 0.1


def compare(
    actual: Nested,
    expected: Nested,
    *,
    against: str,
    tolerance: Tolerance | None = None,
    outputs: Mapping[str, object] | None = None,
    names: Sequence[str] = (),
    dtypes: Dtypes = "values",
) -> ErrorResult:
    """Compare nested outputs with the expected outputs.

    expected: the same structure as `actual`, where a list stands for a tuple and a plain sequence
    of numbers for an array; or a dict by path (`output[1]`) or name, of the outputs to compare.
    tolerance: for all outputs. outputs: a Tolerance, or a dict of its fields, by path or name; it
    takes precedence over `tolerance`, and the dtype decides the rest.
    names: the names of the outputs in the model's source, in order, if it has them. dtypes: the
    part of the dtypes that must agree.
    An output is wrong if it has another shape or type than expected, isn't returned, or isn't
    expected. Raises ModelError for an expectation that isn't real numbers, or that names an unknown
    output.
    """
    return _compare_pairs(
        pair_outputs(actual, expected, names),
        actual,
        against=against,
        tolerance=tolerance,
        outputs=outputs,
        names=names,
        dtypes=dtypes,
    )


def compare_all(
    actual: Nested,
    expected: Mapping[str, Array],
    *,
    against: str,
    tolerance: Tolerance | None = None,
    outputs: Mapping[str, object] | None = None,
    names: Sequence[str] = (),
) -> ErrorResult:
    """Compare all outputs as `compare` does, with arrays by path of the very same dtypes."""
    return _compare_pairs(
        pair_all_outputs(actual, expected),
        actual,
        against=against,
        tolerance=tolerance,
        outputs=outputs,
        names=names,
        dtypes="names",
    )


def _compare_pairs(
    pairs: Sequence[OutputPair],
    actual: Nested,
    *,
    against: str,
    tolerance: Tolerance | None,
    outputs: Mapping[str, object] | None,
    names: Sequence[str],
    dtypes: Dtypes,
) -> ErrorResult:
    paths = [path for path, _ in flatten(actual)]
    own = {
        path: as_tolerance(value, path)
        for path, value in paths_of(outputs or {}, paths, names, "outputs").items()
    }
    for_all = tolerance or Tolerance()
    called = names_by_path(paths, names)
    results = tuple(
        replace(
            _compare_pair(pair, own.get(pair.path, for_all).over(for_all), dtypes),
            name=called.get(pair.path, ""),
        )
        for pair in pairs
    )
    failed = [explain(one) for one in results if not one.passed]
    if len(failed) > _MOST_OUTPUTS:
        left_out = len(failed) - _MOST_OUTPUTS
        failed = [
            *failed[:_MOST_OUTPUTS],
            f"and {counted(left_out, 'more output')}; the JSON report has all outputs",
        ]
    return ErrorResult(
        against=against,
        passed=not failed,
        max_abs_error=_largest((one, one.worst_abs) for one in results),
        max_rel_error=_largest((one, one.worst_rel) for one in results),
        message="\n".join(failed),
        outputs=results,
    )


def _compare_pair(pair: OutputPair, tolerance: Tolerance, dtypes: Dtypes) -> OutputError:
    got, want = pair.got, pair.want
    if got is None or want is None:
        problem: OutputProblem = "missing" if got is None else "surplus"
    elif got.shape != want.shape:
        problem = "shape"
    elif dtypes != "values" and _type(got, dtypes) != _type(want, dtypes):
        problem = "dtype"
    else:
        return compare_arrays(pair.path, got, want, tolerance)
    dtype = "" if got is None else got.dtype.name
    rtol, atol, statistic = tolerance.resolved(dtype)
    return OutputError(
        path=pair.path,
        dtype=dtype,
        shape=() if got is None else tuple(got.shape),
        size=0 if got is None else got.size,
        passed=False,
        rtol=rtol,
        atol=atol,
        statistic=statistic,
        problem=problem,
        shape_expected=None if want is None else tuple(want.shape),
        dtype_expected="" if want is None else want.dtype.name,
    )


def _type(array: Array, dtypes: Dtypes) -> str:
    """Return what of an array's dtype must agree."""
    if dtypes == "names" or not is_real(array.dtype):
        return str(array.dtype.name)
    if array.dtype.name in FLOATS:
        return "float"
    # The types of ml_dtypes that are left are integers, as int4 is.
    return "bool" if array.dtype.kind == "b" else "integer"


def _largest(found: Iterable[tuple[OutputError, ElementError | None]]) -> float:
    """Return the largest error; infinite where an output could not be compared."""
    errors = (math.inf if one.problem else worst.error if worst else 0.0 for one, worst in found)
    return max(errors, default=0.0)


def explain(output: OutputError) -> str:
    """Return what is wrong with an output, in several short lines."""
    if output.problem:
        return output.described
    percent = 100 * output.mismatches / output.size
    share = f"{percent:.1f} %" if percent >= _LEAST_PERCENT else f"< {_LEAST_PERCENT} %"
    lines = [
        f"{output.described}: {differing_words(output)} ({share}{_not_finite(output)})",
        *(f"  {line}" for line in _worst_lines(output)),
    ]
    if len(output.worst) > 1:
        shown = "; ".join(
            f"{list(one.index)} got {one.got}, expected {one.expected}" for one in output.worst
        )
        lines.append(f"  furthest beyond the tolerance: {shown}")
    bound = f"atol={output.atol:g}, rtol={output.rtol:g}"
    if output.statistic == ELEMENTWISE:
        lines.append(f"  tolerance: {bound}")
    elif output.error is None:
        lines.append(f"  tolerance: {bound}, for the {output.statistic}")
    else:
        lines.append(
            f"  {output.statistic} of the absolute error {output.error:.3g}, "
            f"limit {output.limit:.3g} ({bound})"
        )
    return "\n".join(lines)


def _not_finite(output: OutputError) -> str:
    return "".join(f", {count} {what}" for what, count in output.not_finite.items())


def _worst_lines(output: OutputError) -> list[str]:
    """Return the largest errors, those of one element in one line."""
    kinds = {
        "max abs error {:.3g}": output.worst_abs,
        "max rel error {:.3g}": output.worst_rel,
        "max ULP error {:.3g}": output.worst_ulp,
    }
    by_element: dict[tuple[int, ...], tuple[list[str], ElementError]] = {}
    for text, element in kinds.items():
        if element is not None:
            said, _ = by_element.setdefault(element.index, ([], element))
            said.append(text.format(element.error))
    return [
        f"{', '.join(said)} at {list(one.index)}: got {one.got}, expected {one.expected}"
        for said, one in by_element.values()
    ]
