"""What kind of thing failed a case, for programs that read reports: messages are for people."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

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
from pytest_tvmtune.core.json_values import known_fields

# docs/json.md says what each of them means.
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

    operators: of `unsupported operator`, how often each occurs. stage: what the child process was
    at that failed; signal: what a `crash` ended with, such as SIGSEGV; kernel: in which it was, ""
    where that isn't known.
    """

    kind: FailureKind
    operators: dict[str, int] = field(default_factory=dict)
    stage: str = ""
    signal: str = ""
    kernel: str = ""

    @staticmethod
    def from_json(loaded: dict[str, Any]) -> Failure:
        """Return the failure that `asdict` made plain."""
        return Failure(**known_fields(Failure, loaded))


def failure_of(error: TvmTuneError) -> Failure:
    """Return what kind of failure an error is."""
    if isinstance(error, ChildError):
        if error.cause == "time-out":
            return Failure(kind="time-out", stage=error.stage)
        kind: FailureKind = "crash" if error.cause else "error"
        return Failure(kind=kind, stage=error.stage, signal=error.cause, kernel=error.kernel)
    kind = next(kind for known, kind in _KINDS if isinstance(error, known))
    operators = error.operators if isinstance(error, UnsupportedOperatorError) else {}
    return Failure(kind=kind, operators=operators)
