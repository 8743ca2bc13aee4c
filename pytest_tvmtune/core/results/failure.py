"""What kind of thing failed a case, for programs that read reports: messages are for people."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from pytest_tvmtune.core.errors import (
    ChildError,
    CompileError,
    GivenError,
    ImporterError,
    ModelError,
    TvmTuneError,
    UnsupportedOperatorError,
    UnsupportedTypeError,
)
from pytest_tvmtune.core.json_codec import Count

FailureKind = Literal[
    "unsupported operator",
    "unsupported type",
    "import",
    "given",
    "model",
    "compile",
    "crash",
    "time-out",
    "wrong numbers",
    "regression",
    "growth",
    "unknown",
    "error",
]
# The first that an error is an instance of.
_KINDS: tuple[tuple[type[TvmTuneError], FailureKind], ...] = (
    (UnsupportedOperatorError, "unsupported operator"),
    (UnsupportedTypeError, "unsupported type"),
    (ImporterError, "import"),
    (GivenError, "given"),
    (ModelError, "model"),
    (CompileError, "compile"),
    (TvmTuneError, "error"),
)


@dataclass(frozen=True, kw_only=True)
class Failure:
    """The first thing that failed a case.

    Attributes:
        kind: `unsupported operator`: TVM's importer has no converter for `operators`.
            `unsupported type`: inputs or weights are no dense tensors of numbers. `import`: TVM's
            importer failed, or a shape depends on values; the finding names the node. `given`:
            shapes, inputs or parameters don't fit the model, or are missing. `model`: the model
            can't be read, or not be used as it is. `compile`: TVM refused it, or left records out.
            `crash`, `time-out`: of a child process. `wrong numbers`: a comparison. `regression`:
            the latency gate. `growth`: the library, or the memory that a call needs, grew beyond
            its limit. `unknown`: under strict, what the warnings say. `error`: anything else, as
            the findings say; also a fault of pytest-tvmtune itself, which is called that.
        operators: Operators that TVM's importer doesn't know, and how often each occurs.
        stage: What the child process that failed was doing, of a `crash` or `time-out`.
        signal: What a `crash` ended with, such as SIGSEGV.
        kernel: In which kernel the first run crashed, empty where that isn't known.
    """

    kind: FailureKind
    operators: dict[str, Count] = field(default_factory=dict)
    stage: str = ""
    signal: str = ""
    kernel: str = ""


def failure_of(error: TvmTuneError) -> Failure:
    """Return what kind of failure an error is."""
    if isinstance(error, ChildError):
        if error.cause == "time-out":
            return Failure(kind="time-out", stage=error.stage.text)
        kind: FailureKind = "crash" if error.cause else "error"
        return Failure(kind=kind, stage=error.stage.text, signal=error.cause, kernel=error.kernel)
    kind = next(kind for known, kind in _KINDS if isinstance(error, known))
    operators = error.operators if isinstance(error, UnsupportedOperatorError) else {}
    return Failure(kind=kind, operators=operators)
