"""What the doors to files and to TVM's importers share: quiet, and plain errors."""

from __future__ import annotations

import contextlib
import gc
import io
import os
import traceback
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from pytest_tvmtune.core.error_text import typed_cause_of
from pytest_tvmtune.core.errors import ImporterError, ModelError, UnsupportedOperatorError
from pytest_tvmtune.relax import compat


def require_file(path: Path) -> None:
    """Raise ModelError, naming it, where a model's path is no file."""
    if not path.is_file():
        raise ModelError(f"{path}: {'not a file' if path.exists() else 'no such file'}")


@contextlib.contextmanager
def quiet() -> Iterator[Callable[[], str]]:
    """Keep back what importers print and warn of (every input they rename).

    Yields what returns that, as text.
    """
    printed = io.StringIO()
    with warnings.catch_warnings(record=True) as caught, contextlib.redirect_stdout(printed):
        warnings.simplefilter("always")

        def said() -> str:
            warned = (f"{type(one.message).__name__}: {one.message}\n" for one in caught)
            return printed.getvalue() + "".join(warned)

        yield said


@contextlib.contextmanager
def importer(label: str, name: str, place: Callable[[BaseException], str]) -> Iterator[None]:
    """Call one of TVM's importers, without its output.

    name: the importer's. place: returns which of the model's nodes an error is about.
    Raises ImporterError from any error that the importer raises. Errors that this package's own
    code raises there pass.
    """
    with quiet() as said:
        try:
            yield
        except Exception as error:
            at = place(error)
            ours = _raised_here(error)
            with _silent_stderr():
                # The traceback holds a BlockBuilder, whose end is told on the terminal; converters
                # keep it in cycles.
                traceback.clear_frames(error.__traceback__)
                for frame, _ in traceback.walk_tb(error.__traceback__):
                    _ = frame.f_locals  # until Python 3.13 a frame keeps the copy that `place` had
                gc.collect()
            if ours:
                raise
            raise ImporterError(
                f"{label}: TVM's {name} importer failed{at and f' at {at}'}: "
                f"{typed_cause_of(error)}",
                printed=said(),
            ) from error


@contextlib.contextmanager
def _silent_stderr() -> Iterator[None]:
    """Drop what native code writes to file descriptor 2; Python's sys.stderr can't catch that."""
    kept = os.dup(2)
    try:
        with Path(os.devnull).open("wb") as nothing:
            os.dup2(nothing.fileno(), 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)


def _raised_here(error: BaseException) -> bool:
    *_, (last, _) = traceback.walk_tb(error.__traceback__)
    return Path(last.f_code.co_filename).is_relative_to(Path(__file__).parents[2])


def innermost_local(error: BaseException, name: str, attribute: str) -> Any:
    """Return the variable `name` of the innermost frame of a traceback that has one, else None.

    attribute: what the variable's value has, and others of that name have not.
    """
    frames = [frame for frame, _ in traceback.walk_tb(error.__traceback__)]
    found = (frame.f_locals.get(name) for frame in reversed(frames))
    return next((value for value in found if hasattr(value, attribute)), None)


def unsupported(
    label: str, importer: str, nodes: Sequence[tuple[str, str]]
) -> UnsupportedOperatorError:
    """Return the error that names all operators without a converter.

    nodes: (operator, which node it is) of each of them in the model, in its order.
    """
    counts = Counter(operator for operator, _ in nodes)
    first = dict(reversed(nodes))
    listing = ", ".join(
        f"{name} ({first[name]}, {count} in all)" for name, count in sorted(counts.items())
    )
    later = compat.version_that_converts(importer, counts)
    hint = f"; the importer of apache-tvm {later} converts it" if later else ""
    why = f"TVM's {importer} importer has no converter{hint}"
    return UnsupportedOperatorError(
        f"{label}: unsupported operator {listing}: {why}",
        operators=counts,
    )
