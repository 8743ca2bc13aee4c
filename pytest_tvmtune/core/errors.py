"""The exceptions this package raises below the plugin.

Every message says what was given, what is accepted and what to do next.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_tvmtune.core.job_stage import JobStage

if TYPE_CHECKING:
    from pytest_tvmtune.core.settings.dimension_sizes import DynamicInput

_MOST_NAMES = 4


def listed(names: Sequence[str]) -> str:
    """Return the first of some names, and how many more there are."""
    more = len(names) - _MOST_NAMES
    return ", ".join(names[:_MOST_NAMES]) + (f" and {more} more" if more > 0 else "")


def counted(count: int, noun: str) -> str:
    """Return `1 case`, `2 cases`."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def all_of(count: int, noun: str) -> str:
    """Return `the only case`, `all 2 cases`."""
    return f"the only {noun}" if count == 1 else f"all {counted(count, noun)}"


class TvmTuneError(Exception):
    """Base of every error raised on purpose by pytest-tvmtune.

    log_path: the file, named in the message, that has everything that is known of it.
    """

    log_path: Path | None = None

    def add(self, words: str) -> None:
        """Add a line to the message: what was found out since."""
        self.args = (f"{self}\n{words}",)


class OptionError(TvmTuneError):
    """A value given to an option, an ini key or a marker argument is not acceptable.

    The plugin turns it into a UsageError (option, ini) or a collection error (marker).
    """


class LackingError(OptionError):
    """This machine lacks what a target needs: a device, or instructions of the CPU.

    The plugin skips a test that is pinned to it, and makes a UsageError of what a run asks for.
    """


class EnvironmentProblemError(TvmTuneError):
    """This machine or its installed versions can't do what was asked; a UsageError."""


class StoreError(TvmTuneError):
    """The store's folder can't be used (not a folder, read-only, full)."""


class ModelError(TvmTuneError):
    """The model, its parameters or its inputs can't be used as given.

    dynamic: the inputs of the model whose shapes aren't static, where those may be why.
    """

    dynamic: Sequence[DynamicInput] = ()


class GivenError(ModelError):
    """Shapes, inputs or parameters that were given with a model don't fit it, or are missing."""


class UnsupportedTypeError(ModelError):
    """Inputs or weights of the model are no dense tensors of numbers."""


class ImporterError(ModelError):
    """TVM's importer failed on the model, or made of it what can't be compiled.

    printed: what it printed and warned of.
    """

    printed: str

    def __init__(self, message: str, *, printed: str = "") -> None:
        self.printed = printed
        super().__init__(message)


class UnsupportedOperatorError(ModelError):
    """TVM's importer has no converter for operators of the model.

    operators: how often each of them occurs, by name.
    """

    operators: dict[str, int]

    def __init__(self, message: str, *, operators: Mapping[str, int]) -> None:
        self.operators = dict(operators)
        super().__init__(message)


class CompileError(TvmTuneError):
    """TVM refused the model, or the compiled library doesn't keep its contract."""


class RecordsNotAppliedError(CompileError):
    """The pipeline left out tuning records that it was given. shashes: of their workloads."""

    shashes: tuple[str, ...]

    def __init__(self, message: str, *, shashes: tuple[str, ...]) -> None:
        self.shashes = shashes
        super().__init__(message)


class DefectError(TvmTuneError):
    """A fault of pytest-tvmtune itself: it raised what it doesn't raise on purpose."""


class TuningError(TvmTuneError):
    """The tuner could not do its work."""


class ChildError(TvmTuneError):
    """A child process crashed, hung or failed.

    `log_path` holds everything it printed, TVM's own log included; `stage` is what it was at;
    `cause` is the signal's name, "time-out", or "" where it ended by itself; `kernel` is the one
    that crashed, where that is known.
    """

    stage: JobStage
    cause: str
    kernel: str

    def __init__(
        self,
        message: str,
        *,
        log_path: Path | None = None,
        stage: JobStage | None = None,
        cause: str = "",
        kernel: str = "",
    ) -> None:
        self.log_path = log_path
        self.stage = stage or JobStage()
        self.cause = cause
        self.kernel = kernel
        super().__init__(message if log_path is None else f"{message}\nlog: {log_path}")


class GoldenError(TvmTuneError):
    """Golden outputs can't be read, or are of something else; the message says how to repair it."""


class ReportError(TvmTuneError):
    """What was given is no report of pytest-tvmtune, or one of a later version."""


class BaselineError(TvmTuneError):
    """A baseline or its artifact can't be used."""
