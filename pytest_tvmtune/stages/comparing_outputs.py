"""Stages: outputs compared with what is expected, or with prepack the other way."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pytest_tvmtune.core.comparing.tolerances import ComparisonOptions, Tolerance
from pytest_tvmtune.core.errors import ModelError
from pytest_tvmtune.core.results.comparison_result import ErrorResult
from pytest_tvmtune.core.results.failure import Failure
from pytest_tvmtune.stages.case import Case
from pytest_tvmtune.stages.compiling import BuiltModel
from pytest_tvmtune.stages.divergence_search import PLAIN, PREPACKED, UNTUNED, diagnose
from pytest_tvmtune.stages.stage_progress import under_way
from pytest_tvmtune.stages.tuned_build import counterpart_outputs, reference_outputs
from pytest_tvmtune.store.error_logs import errors_logged

if TYPE_CHECKING:
    from pytest_tvmtune.core.comparing.outputs_comparison import Dtypes


def compare_with_expected(
    case: Case, built: BuiltModel, outputs: Any, expected: Any, comparison: ComparisonOptions
) -> ErrorResult | None:
    """Compare a case's outputs with what its test expects, None where nothing can be compared.

    expected: arrays; a callable, called with the runtime inputs; the name of one of the model's
    references; None: the untuned, unpacked build.
    Raises ModelError for a reference that this model doesn't have, and for what is no arrays.
    """
    if expected is None:
        wanted = reference_outputs(case, built)
        return (
            None if wanted is None else compare_outputs(case, outputs, wanted, UNTUNED, comparison)
        )
    if isinstance(expected, str):
        return compare_outputs(case, outputs, _referred(case, expected), expected, comparison)
    wanted = _call(expected, case) if callable(expected) else expected
    # Of what the test says itself only the values count: 2 may stand for 2.0.
    return compare_outputs(case, outputs, wanted, "expected", comparison, dtypes="values")


def compare_prepacked(case: Case, outputs: Any, comparison: ComparisonOptions) -> ErrorResult:
    """Compare a case's outputs with those that prepack the other way round gives."""
    against = PLAIN if case.options.prepack else PREPACKED
    return compare_outputs(case, outputs, counterpart_outputs(case), against, comparison)


def compare_outputs(
    case: Case,
    outputs: Any,
    expected: Any,
    against: str,
    comparison: ComparisonOptions,
    *,
    dtypes: Dtypes = "kinds",
) -> ErrorResult:
    """Compare, with what `comparison` leaves open taken from the marker. Raises ModelError."""
    from pytest_tvmtune.core.comparing.outputs_comparison import compare

    return compare(
        outputs,
        expected,
        against=against,
        tolerance=tolerance_of(case, comparison),
        outputs=comparison.outputs,
        names=case.model.output_names,
        dtypes=dtypes,
    )


def note_error(
    case: Case, built: BuiltModel, error: ErrorResult, comparison: ComparisonOptions
) -> list[str]:
    """Keep a comparison in the case's result, and return the findings: none, or what is wrong.

    What is wrong is followed up to the kernel where it begins.
    """
    case.result.errors.append(error)
    if error.passed:
        return []
    case.result.note_failure(Failure(kind="wrong numbers"))
    said = diagnose(case, built, error, tolerance_of(case, comparison)).replace("\n", "\n  ")
    return [f"{case.label}: wrong numbers against {error.against}: {error.message}\n  {said}"]


def tolerance_of(case: Case, comparison: ComparisonOptions) -> Tolerance:
    """Return how far all outputs may be off: by the call, else by the marker."""
    return comparison.tolerance.over(Tolerance(rtol=case.options.rtol, atol=case.options.atol))


def _referred(case: Case, name: str) -> Any:
    references = case.model.references
    if name not in references:
        known = ", ".join(f"expected={one!r}" for one in references) or "none"
        raise ModelError(
            f"expected={name!r}: this model has no such reference; it has {known}. "
            "Arrays, or a callable that takes the inputs, can be given for any model"
        )
    with errors_logged(lambda: case.log_path("reference")):
        return _call(references[name], case)


def _call(function: Any, case: Case) -> Any:
    # Copies: a function that works in place must not change what the model is called with.
    inputs = [array.copy() for array in case.model.inputs]
    with under_way(case.run_context.on_progress, case.label, "computing what is expected"):
        return function(*inputs)
