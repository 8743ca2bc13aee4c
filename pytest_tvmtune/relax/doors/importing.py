"""What the doors to files and to TVM's importers share: quiet, and plain errors."""

from __future__ import annotations

import contextlib
import gc
import io
import os
import traceback
import warnings
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from pytest_tvmtune.core.error_text import cause_of
from pytest_tvmtune.core.errors import ImporterError, ModelError, UnsupportedOperatorError


def check_file(path: Path) -> None:
    """Raise ModelError, naming it, where a model's path is no file."""
    if not path.is_file():
        raise ModelError(f"{path}: {'not a file' if path.exists() else 'no such file'}")


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Drop what importers warn of (every input they rename) and print (what they fail on)."""
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        try:
            yield
        except Exception as error:
            with _silent_stderr():
                # The traceback holds a BlockBuilder, whose end is told on the terminal; converters
                # keep it in cycles.
                traceback.clear_frames(error.__traceback__)
                gc.collect()
            raise


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


def failed(label: str, importer: str, error: Exception) -> ImporterError:
    """Return what tells that TVM's importer raised an error of its own."""
    return ImporterError(
        f"{label}: TVM's {importer} importer failed: {type(error).__name__}: {cause_of(error)}"
    )


def unsupported(
    label: str, importer: str, nodes: Sequence[tuple[str, str]]
) -> UnsupportedOperatorError:
    """Return the error that names all operators without a converter.

    nodes: (operator, name of the node) of each of them in the model, in its order.
    """
    counts = Counter(operator for operator, _ in nodes)
    first = {operator: node or "unnamed" for operator, node in reversed(nodes)}
    listing = ", ".join(
        f"{name} (node {first[name]!r}, {count} in all)" for name, count in sorted(counts.items())
    )
    return UnsupportedOperatorError(
        f"{label}: unsupported operator {listing}: TVM's {importer} importer has no converter",
        operators=counts,
    )
