"""Stage: outputs compared with those of ONNX test data, for the inputs that stand beside them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytest_tvmtune.core.errors import ModelError
from pytest_tvmtune.core.signature import bind_arrays
from pytest_tvmtune.core.tolerances import How
from pytest_tvmtune.relax.doors.data_files import read_tensors
from pytest_tvmtune.runner.building import Built, run_new_data_in_child
from pytest_tvmtune.runner.case import Case
from pytest_tvmtune.runner.comparing import compare_outputs, note_error
from pytest_tvmtune.store.locks import shared_cores

if TYPE_CHECKING:
    from pytest_tvmtune.relax.session import Session


def compare_data_sets(
    case: Case, built: Built, session: Session, outputs: Any, folders: Sequence[Path]
) -> list[str]:
    """Compare a case with each of its data sets, note it in its result, return the findings.

    outputs: for the first one's inputs, which the case was opened with.
    Raises ModelError, naming the data set, for what can't be read or doesn't fit the model, and
    ChildError where the model crashes with other inputs.
    """
    findings = []
    for folder in folders:
        try:
            if folder != folders[0]:
                case, built = _with_inputs(case, built, folder)
                outputs = _call(case, session)
            wanted = read_tensors(folder, "output")
            if not wanted:
                raise ModelError("there is no output_0.pb")
            # As a model returns them: an array, or a tuple of several.
            expected = wanted[0] if len(wanted) == 1 else tuple(wanted)
            error = compare_outputs(case, outputs, expected, folder.name, How())
        except ModelError as problem:
            raise ModelError(f"{folder.name}: {problem}") from None
        findings += note_error(case, built, error, How())
    return findings


def _with_inputs(case: Case, built: Built, folder: Path) -> tuple[Case, Built]:
    """Return a case with a data set's inputs, which its build has run with in a child."""
    specs = case.model.signature.inputs
    inputs = tuple(bind_arrays(specs, read_tensors(folder, "input"), "input"))
    case = replace(case, model=replace(case.model, inputs=inputs))
    return case, run_new_data_in_child(case, built)


def _call(case: Case, session: Session) -> Any:
    from pytest_tvmtune.relax.session import call, with_inputs

    with shared_cores():
        return call(with_inputs(session, case.model.inputs))
