"""Numeric comparison of a model's outputs with what is expected of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pytest_tvmtune.core.arrays import compare_arrays
from pytest_tvmtune.core.leaves import Nested, expected_leaves, flatten, paths_of
from pytest_tvmtune.core.outputs import ElementError, OutputError
from pytest_tvmtune.core.results import ErrorResult
from pytest_tvmtune.core.tolerances import ELEMENTWISE, Tolerance, as_tolerance

_MOST_OUTPUTS = 5


def compare(
    actual: Nested,
    expected: Nested,
    *,
    against: str,
    tolerance: Tolerance | None = None,
    outputs: Mapping[str, object] | None = None,
    names: Sequence[str] = (),
) -> ErrorResult:
    """Compare nested outputs with what is expected of them.

    expected: the same structure as `actual`, where a list stands for a tuple and a plain sequence
    of numbers for an array; or a dict by path (`output[1]`) or name, of those to compare.
    tolerance: for all outputs. outputs: a Tolerance, or a dict of its fields, by path or name; it
    goes before `tolerance`, and what neither says is settled by dtype.
    names: what the model's source calls its outputs, in order, where it does.
    Raises ModelError when the structure, or the shape of an output, differs.
    """
    got = dict(flatten(actual))
    own = {
        path: as_tolerance(value, path)
        for path, value in paths_of(outputs or {}, list(got), names, "outputs").items()
    }
    for_all = tolerance or Tolerance()
    results = tuple(
        compare_arrays(path, got[path], want, own.get(path, for_all).over(for_all))
        for path, want in expected_leaves(actual, expected, names)
    )
    failed = [explain(one) for one in results if not one.passed]
    if len(failed) > _MOST_OUTPUTS:
        left_out = len(failed) - _MOST_OUTPUTS
        failed = [
            *failed[:_MOST_OUTPUTS],
            f"and {left_out} more outputs; all are in the JSON report",
        ]
    return ErrorResult(
        against=against,
        passed=not failed,
        max_abs_error=max((one.worst_abs.error for one in results if one.worst_abs), default=0.0),
        max_rel_error=max((one.worst_rel.error for one in results if one.worst_rel), default=0.0),
        message="\n".join(failed),
        outputs=results,
    )


def explain(output: OutputError) -> str:
    """Return what is wrong with an output, in several short lines."""
    share = output.mismatches / output.size
    name = f"{output.path} {output.dtype}{list(output.shape)}"
    count = f"{output.mismatches} of {output.size} values differ"
    lines = [
        f"{name}: {count} ({share:.1%}{_not_finite(output)})",
        *(f"  {line}" for line in _worst_lines(output)),
    ]
    if len(output.worst) > 1:
        shown = "; ".join(f"{list(one.index)} {one.got} for {one.expected}" for one in output.worst)
        lines.append(f"  furthest beyond the tolerance: {shown}")
    bound = f"atol={output.atol:g}, rtol={output.rtol:g}"
    if output.statistic == ELEMENTWISE:
        lines.append(f"  tolerance: {bound}")
    elif output.error is None:
        lines.append(f"  tolerance: {bound}, by the {output.statistic}")
    else:
        lines.append(
            f"  {output.statistic} of the absolute error {output.error:.3g}, "
            f"limit {output.limit:.3g} ({bound})"
        )
    return "\n".join(lines)


def _not_finite(output: OutputError) -> str:
    counts = {
        "unexpected NaN": output.unexpected_nan,
        "unexpected Inf": output.unexpected_inf,
        "missing NaN": output.missing_nan,
        "missing Inf": output.missing_inf,
    }
    return "".join(f", {count} {what}" for what, count in counts.items() if count)


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
