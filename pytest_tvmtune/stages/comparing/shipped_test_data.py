"""Stage: outputs compared with the outputs of ONNX test data."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from pytest_tvmtune.core.comparing.tolerances import ComparisonOptions
from pytest_tvmtune.core.errors import ModelError
from pytest_tvmtune.core.tensors.signature import bind_arrays
from pytest_tvmtune.relax.importing.tensor_files import read_tensors
from pytest_tvmtune.stages.case import Case
from pytest_tvmtune.stages.comparing.comparing_outputs import compare_outputs
from pytest_tvmtune.stages.compiling import BuiltModel, run_new_data_in_child
from pytest_tvmtune.stages.devices.loaded_model import LoadedModel
from pytest_tvmtune.stages.outcomes import ComparisonOutcome
from pytest_tvmtune.stages.stage_progress import running


def compare_data_set(case: Case, folder: Path, outputs: Any) -> ComparisonOutcome:
    """Compare a case's outputs with those of a data set.

    Raises:
        ModelError: They can't be read, or don't fit the model.
    """
    error = compare_outputs(case, outputs, _expected(folder), folder.name, ComparisonOptions())
    return ComparisonOutcome(error=error, compared_with="given values")


def _expected(folder: Path) -> Any:
    """Return a data set's outputs as a model returns them: an array, or a tuple of several."""
    outputs = read_tensors(folder, "output")
    if not outputs:
        raise ModelError("the file output_0.pb is missing")
    return outputs[0] if len(outputs) == 1 else tuple(outputs)


def call_with_data_set(
    case: Case, built: BuiltModel, loaded: LoadedModel, folder: Path
) -> tuple[Case, BuiltModel, Any]:
    """Return the case with a data set's inputs, its build, and the outputs that it has for them.

    It is called with them in a child first.

    Raises:
        ModelError: They can't be read, or don't fit the model.
        ChildError: It crashes or hangs.
    """
    specs = case.model.signature.inputs
    inputs = tuple(bind_arrays(specs, read_tensors(folder, "input"), "input"))
    case = replace(case, model=replace(case.model, inputs=inputs))
    built = run_new_data_in_child(case, built)
    with running(case):
        return case, built, loaded.outputs(case.model.inputs)
