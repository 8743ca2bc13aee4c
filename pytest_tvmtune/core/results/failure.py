"""The kind of a failure, for programs that read reports."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from pytest_tvmtune.core.errors import (
    LOST_DEVICE,
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
    "drift",
    "growth",
    "over budget",
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
    """The first failure of a case.

    Attributes:
        kind: `unsupported operator`: TVM's importer has no converter for `operators`.
            `unsupported type`: an input or a weight isn't a dense tensor of numbers. `import`:
            TVM's importer failed, or a shape depends on values; the finding names the node.
            `given`: shapes, inputs, or parameters don't fit the model, or are missing. `model`: the
            model can't be read, or can't be used as it is. `compile`: TVM can't compile the model,
            or the pipeline left out records. `crash`, `time-out`: a child process crashed, or took
            too long. `wrong numbers`: a comparison failed. `regression`: the latency gate failed.
            `drift`: the model has become slower than its anchor. `growth`: the library, or the
            memory of a call, grew beyond its limit. `over budget`: the latency is above its budget.
            `unknown`: with strict, a warning failed the test. `error`: anything else, including a
            fault of pytest-tvmtune.
        operators: The operators that TVM's importer doesn't know, with the number of their nodes.
        stage: The stage of the child process, for a `crash` or a `time-out`.
        signal: The signal that ended the child process, such as SIGSEGV, for a `crash`.
        kernel: The kernel in which the first run crashed; empty if it isn't known.
    """

    kind: FailureKind
    operators: dict[str, Count] = field(default_factory=dict)
    stage: str = ""
    signal: str = ""
    kernel: str = ""


def failure_of(error: TvmTuneError) -> Failure:
    """Return the kind of failure of an error."""
    if isinstance(error, ChildError):
        if error.cause == "time-out":
            return Failure(kind="time-out", stage=error.stage.text)
        if error.cause in {"", LOST_DEVICE}:
            return Failure(kind="error", stage=error.stage.text, kernel=error.kernel)
        stage, cause = error.stage.text, error.cause
        return Failure(kind="crash", stage=stage, signal=cause, kernel=error.kernel)
    kind = next(kind for known, kind in _KINDS if isinstance(error, known))
    operators = error.operators if isinstance(error, UnsupportedOperatorError) else {}
    return Failure(kind=kind, operators=operators)
