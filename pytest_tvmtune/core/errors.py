"""The exceptions this package raises below the plugin.

Every message says what was given, what is accepted and what to do next.
"""

from __future__ import annotations

from pathlib import Path


class TvmTuneError(Exception):
    """Base of every error raised on purpose by pytest-tvmtune."""


class OptionError(TvmTuneError):
    """A value given to an option, an ini key or a marker argument is not acceptable.

    The plugin turns it into a UsageError (option, ini) or a collection error (marker).
    """


class EnvironmentProblemError(TvmTuneError):
    """This machine or its installed versions can't do what was asked; a UsageError."""


class StoreError(TvmTuneError):
    """The store's folder can't be used (not a folder, read-only, full)."""


class ModelError(TvmTuneError):
    """The model, its parameters or its inputs can't be used as given."""


class CompileError(TvmTuneError):
    """TVM refused the model, or the compiled library doesn't keep its contract."""


class RecordsNotAppliedError(CompileError):
    """The pipeline left out tuning records that it was given. shashes: of their workloads."""

    def __init__(self, message: str, *, shashes: tuple[str, ...]) -> None:
        self.shashes = shashes
        super().__init__(message)


class TuningError(TvmTuneError):
    """The tuner could not do its work."""


class ChildError(TvmTuneError):
    """A child process crashed, hung or failed.

    `log_path` holds everything it printed, TVM's own log included; `stage` is what it was at.
    """

    def __init__(self, message: str, *, log_path: Path | None = None, stage: str = "") -> None:
        self.log_path = log_path
        self.stage = stage
        super().__init__(message if log_path is None else f"{message}\nlog: {log_path}")


class BaselineError(TvmTuneError):
    """A baseline or its artifact can't be used; `reason` is one line without the remedy."""
