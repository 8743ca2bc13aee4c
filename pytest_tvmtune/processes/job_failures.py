"""An exception on its way from a job to its caller."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import get_type_hints

from pytest_tvmtune.core import errors
from pytest_tvmtune.core.error_text import typed_cause_of
from pytest_tvmtune.core.errors import TvmTuneError
from pytest_tvmtune.core.json_codec import from_binary, to_binary
from pytest_tvmtune.core.settings.dimension_sizes import DynamicInput


@dataclass(frozen=True, kw_only=True)
class JobFailure:
    """What a job raised.

    kind: its class in core/errors.py, "" for an error that isn't raised on purpose. fields: the
    fields of the error, by name, each as the codec writes it.
    """

    message: str
    kind: str = ""
    fields: dict[str, bytes] = field(default_factory=dict)


def job_failure_of(error: Exception) -> JobFailure:
    """Return what is to be known of an exception."""
    # One class deeper than ours: ours.
    kind = next((one for one in type(error).__mro__ if vars(errors).get(one.__name__) is one), None)
    if kind is None or not isinstance(error, TvmTuneError):
        return JobFailure(message=_text(typed_cause_of(error)))
    fields = {name: to_binary(getattr(error, name)) for name in _fields(kind)}
    return JobFailure(message=_text(str(error)), kind=kind.__name__, fields=fields)


def error_of(failure: JobFailure, message: str) -> TvmTuneError:
    """Return the error that a job raised on purpose, with another message."""
    kind: type[TvmTuneError] = vars(errors)[failure.kind]
    error = kind.__new__(kind, message)
    for name, field_type in _fields(kind).items():
        setattr(error, name, from_binary(failure.fields[name], field_type))
    return error


def _fields(kind: type) -> dict[str, type]:
    return get_type_hints(kind, localns={"DynamicInput": DynamicInput})


def _text(message: str) -> str:
    """Return a message with escapes for characters that UTF-8 lacks, as in an undecodable path."""
    return message.encode(errors="backslashreplace").decode()
