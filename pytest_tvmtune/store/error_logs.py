"""Logs of the store, with all that is known of an error whose message has only one sentence."""

from __future__ import annotations

import contextlib
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path

from pytest_tvmtune.core.error_text import typed_cause_of
from pytest_tvmtune.core.errors import DefectError, ImporterError, StoreError, TvmTuneError
from pytest_tvmtune.store.atomic_files import write_text

_PACKAGE = Path(__file__).parents[1]
# Raised for reasons of the machine's, or because the test's own filters make warnings errors.
_NOBODYS_FAULT = (OSError, MemoryError, Warning)


@contextlib.contextmanager
def errors_logged(log_path: Callable[[], Path]) -> Iterator[None]:
    """Write all that is known of an error to a file, and name the file in its message.

    The file has all output and all tracebacks of an error of this package that was raised from
    another error (TVM's, torch's, or a test's). Warnings, OSError, and MemoryError pass.

    Args:
        log_path: Returns the path of the file. It's called only if there is something to write.

    Raises:
        DefectError: From any other exception, which is a fault of this package.
    """
    try:
        yield
    except TvmTuneError as error:
        if error.__cause__ is not None and error.log_path is None:
            _log(error, log_path())
        raise
    except _NOBODYS_FAULT:
        raise
    except Exception as error:
        defect = DefectError(
            f"{typed_cause_of(error)} ({_place(error)}); this is a fault of pytest-tvmtune, not of "
            "the model or TVM; report it with the log"
        )
        defect.__cause__ = error
        _log(defect, log_path())
        raise defect from error


def _log(error: TvmTuneError, path: Path) -> None:
    printed = error.printed if isinstance(error, ImporterError) else ""
    text = f"{error}\n\n{printed}\n{''.join(traceback.format_exception(error))}"
    # Without room for a log, the message says what it can.
    with contextlib.suppress(StoreError):
        write_text(path, text)
        error.log_path = path
        error.add(f"log: {path}")


def _place(error: BaseException) -> str:
    """Return which line of this package an exception passed last."""
    lines = [
        f"{Path(frame.f_code.co_filename).relative_to(_PACKAGE.parent)}, line {line}"
        for frame, line in traceback.walk_tb(error.__traceback__)
        if Path(frame.f_code.co_filename).is_relative_to(_PACKAGE)
    ]
    return lines[-1]
