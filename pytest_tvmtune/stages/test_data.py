"""Stage: outputs compared with those of ONNX test data, for the inputs that stand beside them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytest_tvmtune.core.comparing.tolerances import ComparisonOptions
from pytest_tvmtune.core.errors import ChildError, ModelError
from pytest_tvmtune.core.results.failure import failure_of
from pytest_tvmtune.core.tensors.signature import bind_arrays
from pytest_tvmtune.relax.importing.tensor_files import read_tensors
from pytest_tvmtune.stages.case import Case
from pytest_tvmtune.stages.comparing_outputs import compare_outputs, note_error
from pytest_tvmtune.stages.compiling import BuiltModel, run_new_data_in_child
from pytest_tvmtune.stages.stage_progress import running

if TYPE_CHECKING:
    from pytest_tvmtune.relax.measuring.session import Session


def compare_data_sets(
    case: Case, built: BuiltModel, session: Session, outputs: Any, folders: Sequence[Path]
) -> list[str]:
    """Compare a case with each of its data sets, note it in its result, return the findings.

    outputs: for the first one's inputs, which the case was opened with.
    What can't be read or doesn't fit the model, and a crash with other inputs, are findings, too.
    """
    findings = []
    for folder in folders:
        try:
            if folder != folders[0]:
                case, built = _with_inputs(case, built, folder)
                outputs = _call(case, session)
            error = compare_outputs(
                case, outputs, _expected(folder), folder.name, ComparisonOptions()
            )
        except (ModelError, ChildError) as problem:
            case.result.note_failure(failure_of(problem))
            findings.append(f"{case.label}: {folder.name}: {problem}")
        else:
            findings += note_error(case, built, error, ComparisonOptions())
    return findings


def _expected(folder: Path) -> Any:
    """Return a data set's outputs as a model returns them: an array, or a tuple of several."""
    outputs = read_tensors(folder, "output")
    if not outputs:
        raise ModelError("there is no output_0.pb")
    return outputs[0] if len(outputs) == 1 else tuple(outputs)


def _with_inputs(case: Case, built: BuiltModel, folder: Path) -> tuple[Case, BuiltModel]:
    """Return a case with a data set's inputs, which its build has run with in a child."""
    specs = case.model.signature.inputs
    inputs = tuple(bind_arrays(specs, read_tensors(folder, "input"), "input"))
    case = replace(case, model=replace(case.model, inputs=inputs))
    return case, run_new_data_in_child(case, built)


def _call(case: Case, session: Session) -> Any:
    from pytest_tvmtune.relax.measuring.session import call, with_inputs

    with running(case):
        return call(with_inputs(session, case.model.inputs))
