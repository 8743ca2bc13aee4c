"""What kind of failure an error is, as the JSON report tells it."""

from __future__ import annotations

import pytest

from pytest_tvmtune.core.errors import (
    BaselineError,
    ChildError,
    CompileError,
    GivenError,
    ImporterError,
    ModelError,
    RecordsNotAppliedError,
    StoreError,
    TvmTuneError,
    UnsupportedOperatorError,
    UnsupportedTypeError,
)
from pytest_tvmtune.core.job_stage import JobStage
from pytest_tvmtune.core.results.case_result import CaseResult
from pytest_tvmtune.core.results.failure import Failure, failure_of


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (ModelError("no such file"), "model"),
        (GivenError("another shape"), "given"),
        (ImporterError("KeyError"), "import"),
        (UnsupportedTypeError("strings"), "unsupported type"),
        (CompileError("no"), "compile"),
        (RecordsNotAppliedError("left out", shashes=("0",)), "compile"),
        (ChildError("exit code 1"), "error"),
        (StoreError("read-only"), "error"),
        (BaselineError("damaged"), "error"),
    ],
)
def test_the_kind_of_an_error(error: TvmTuneError, kind: str) -> None:
    assert failure_of(error) == Failure(kind=kind)  # type: ignore[arg-type]


def test_operators_are_counted() -> None:
    error = UnsupportedOperatorError("LSTM", operators={"LSTM": 2, "GRU": 1})
    found = failure_of(error)
    assert (found.kind, found.operators) == ("unsupported operator", {"GRU": 1, "LSTM": 2})


def test_what_ended_a_child_is_told_with_its_stage() -> None:
    crashed = failure_of(ChildError("crashed", stage=JobStage("compiling"), cause="SIGSEGV"))
    assert crashed == Failure(kind="crash", stage="compiling", signal="SIGSEGV")
    hung = failure_of(ChildError("stopped", stage=JobStage("compiling"), cause="time-out"))
    assert hung == Failure(kind="time-out", stage="compiling")


def test_the_first_failure_is_kept() -> None:
    result = CaseResult(name="", nodeid="", entry="", target_name="", target="", prepack=False)
    assert result.failure is None
    result.note_failure(Failure(kind="wrong numbers"))
    result.note_failure(Failure(kind="regression"))
    assert result.failure == Failure(kind="wrong numbers")
