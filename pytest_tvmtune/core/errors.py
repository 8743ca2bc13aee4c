"""The exceptions that this package raises below the plugin.

Every message states the problem, the accepted values, and the next step.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_tvmtune.core.job_stage import JobStage

if TYPE_CHECKING:
    from pytest_tvmtune.core.settings.dimension_sizes import DynamicInput

_MOST_NAMES = 4
# The cause of a ChildError that says nothing of what ran: a device that was lost.
LOST_DEVICE = "lost device"


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
    """The base class of all errors that pytest-tvmtune raises on purpose.

    log_path: the file with all output and tracebacks of the error. The message names it.
    """

    log_path: Path | None = None

    def add(self, words: str) -> None:
        """Add a line to the message, with later findings."""
        self.args = (f"{self}\n{words}",)


class OptionError(TvmTuneError):
    """The value of an option, an ini key, or a marker argument isn't accepted.

    The plugin turns it into a UsageError (option, ini) or a collection error (marker).
    """


class LackingError(OptionError):
    """This machine lacks a device, or instructions of the CPU, that a target needs.

    The plugin skips a test that is pinned to the target. If a run asks for the target, the plugin
    raises a UsageError.
    """


class EnvironmentProblemError(TvmTuneError):
    """This machine, or its installed versions, can't do the requested work; a UsageError."""


class StoreError(TvmTuneError):
    """The store's folder can't be used (not a folder, read-only, full)."""


class ModelError(TvmTuneError):
    """The model, its parameters, or its inputs can't be used as given.

    dynamic: the inputs of the model whose shapes aren't static, if they may be the reason.
    """

    dynamic: Sequence[DynamicInput] = ()


class GivenError(ModelError):
    """Shapes, inputs, or parameters don't fit the model, or are missing."""


class UnsupportedTypeError(ModelError):
    """An input or a weight of the model isn't a dense tensor of numbers."""


class ImporterError(ModelError):
    """TVM's importer failed, or its module can't be compiled.

    printed: the output and the warnings of the importer.
    """

    printed: str

    def __init__(self, message: str, *, printed: str = "") -> None:
        self.printed = printed
        super().__init__(message)


class UnsupportedOperatorError(ModelError):
    """TVM's importer has no converter for operators of the model.

    operators: the number of nodes by operator.
    """

    operators: dict[str, int]

    def __init__(self, message: str, *, operators: Mapping[str, int]) -> None:
        self.operators = dict(operators)
        super().__init__(message)


class CompileError(TvmTuneError):
    """TVM can't compile the model, or the compiled library doesn't keep its contract."""


class RecordsNotAppliedError(CompileError):
    """The pipeline left out given tuning records. shashes: of their workloads."""

    shashes: tuple[str, ...]

    def __init__(self, message: str, *, shashes: tuple[str, ...]) -> None:
        self.shashes = shashes
        super().__init__(message)


class DefectError(TvmTuneError):
    """A fault of pytest-tvmtune: an exception that it doesn't raise on purpose."""


class TuningError(TvmTuneError):
    """The tuner can't work on this machine."""


class DeviceError(TvmTuneError):
    """A device behind TVM RPC can't be had, or was lost. It shows nothing about the model."""


class MissingDeviceError(DeviceError):
    """There is no device at an address, or it can't run code for the target."""


class DeviceLostError(DeviceError):
    """The connection to a device ended while something ran there."""


class ChildError(TvmTuneError):
    """A child process crashed, hung, or failed.

    log_path: the file with its output, including TVM's log. stage: the stage in which it failed.
    cause: the name of the signal, "time-out", LOST_DEVICE, or "" if it ended on its own. kernel:
    the kernel that crashed, if it's known.
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
    """Golden outputs can't be read, or belong to another test or other inputs."""


class BisectError(TvmTuneError):
    """A bisection can't begin, or can't go on."""


class ExportError(TvmTuneError):
    """A library can't be exported, or doesn't run where it was exported to."""


class ReportError(TvmTuneError):
    """The value isn't a report of pytest-tvmtune, or a later version wrote it."""


class BaselineError(TvmTuneError):
    """A baseline or its artifact can't be used."""
