"""Stages: outputs compared with the expected outputs, or with those of the other prepack choice."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pytest_tvmtune.core.comparing.outputs_comparison import compare
from pytest_tvmtune.core.comparing.tolerances import ComparisonOptions, Tolerance
from pytest_tvmtune.core.errors import ModelError
from pytest_tvmtune.core.results.comparison_result import ErrorResult
from pytest_tvmtune.stages.case import Case
from pytest_tvmtune.stages.compiling import BuiltModel
from pytest_tvmtune.stages.explaining.divergence_search import PLAIN, PREPACKED, UNTUNED
from pytest_tvmtune.stages.outcomes import ComparisonOutcome
from pytest_tvmtune.stages.stage_progress import under_way
from pytest_tvmtune.stages.tuned_build import counterpart_build, load_and_call, reference_build
from pytest_tvmtune.store.error_logs import errors_logged

if TYPE_CHECKING:
    from pytest_tvmtune.core.comparing.outputs_comparison import Dtypes


def compare_with_expected(
    case: Case, built: BuiltModel, outputs: Any, expected: Any, comparison: ComparisonOptions
) -> ComparisonOutcome:
    """Compare a case's outputs with the outputs that its test expects.

    Args:
        case: Whose outputs they are.
        built: What computed them.
        outputs: Arrays, as the model returns them.
        expected: Arrays; a callable, called with the runtime inputs; the name of one of the
            model's references; None: the untuned, unpacked build, unless this is it.
        comparison: How far outputs may be off.

    Raises:
        ModelError: The model has no such reference, or something is no array.
    """
    if expected is None:
        reference = reference_build(case, built)
        if reference is None:
            return ComparisonOutcome(error=None, compared_with="untuned build")
        wanted = load_and_call(case, reference)[1]
        return ComparisonOutcome(
            error=compare_outputs(case, outputs, wanted, UNTUNED, comparison),
            compared_with="untuned build",
            compiled_s=reference.compiled_s,
        )
    if isinstance(expected, str):
        error = compare_outputs(case, outputs, _referred(case, expected), expected, comparison)
    else:
        wanted = _call(expected, case) if callable(expected) else expected
        # Of what the test says itself only the values count: 2 may stand for 2.0.
        error = compare_outputs(case, outputs, wanted, "expected", comparison, dtypes="values")
    return ComparisonOutcome(error=error, compared_with="given values")


def compare_prepacked(case: Case, outputs: Any, comparison: ComparisonOptions) -> ComparisonOutcome:
    """Compare a case's outputs with those that prepack the other way round gives."""
    counterpart = counterpart_build(case)
    wanted = load_and_call(case, counterpart)[1]
    against = PLAIN if case.options.prepack else PREPACKED
    return ComparisonOutcome(
        error=compare_outputs(case, outputs, wanted, against, comparison),
        compared_with="counterpart",
        compiled_s=counterpart.compiled_s,
    )


def compare_outputs(
    case: Case,
    outputs: Any,
    expected: Any,
    against: str,
    comparison: ComparisonOptions,
    *,
    dtypes: Dtypes = "kinds",
) -> ErrorResult:
    """Compare; the marker sets the options that `comparison` leaves open. Raises ModelError."""
    return compare(
        outputs,
        expected,
        against=against,
        tolerance=tolerance_of(case, comparison),
        outputs=comparison.outputs,
        names=case.model.output_names,
        dtypes=dtypes,
    )


def tolerance_of(case: Case, comparison: ComparisonOptions) -> Tolerance:
    """Return how far all outputs may be off: by the call, else by the marker."""
    return comparison.tolerance.over(Tolerance(rtol=case.options.rtol, atol=case.options.atol))


def _referred(case: Case, name: str) -> Any:
    references = case.model.references
    if name not in references:
        known = ", ".join(f"expected={one!r}" for one in references) or "none"
        raise ModelError(
            f"expected={name!r}: this model has no such reference; it has {known}. "
            "For any model, you can give arrays, or a callable that takes the inputs"
        )
    with errors_logged(lambda: case.log_path("reference")):
        return _call(references[name], case)


def _call(function: Any, case: Case) -> Any:
    # Copies: a function that works in place must not change what the model is called with.
    inputs = [array.copy() for array in case.model.inputs]
    with under_way(case.run_context.on_progress, case.label, "computing the expected outputs"):
        return function(*inputs)
