"""Whole files only: a temporary file in the same folder, flushed to disk, then renamed."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
from itertools import count
from pathlib import Path
from typing import Any

from pytest_tvmtune.core.errors import StoreError


def write_bytes(path: Path, content: bytes) -> None:
    """Put `content` at `path` so that a reader sees the old file or the whole new file.

    Raises:
        StoreError: The disk is full, or the folder can't be written.
    """
    # Not tempfile: its files are for their owner alone, whatever the umask says.
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(6)}")
    try:
        if path.exists() and not path.is_file():
            raise StoreError(f"can't write {path}: it is not a regular file")
        path.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        raise StoreError(f"can't write {path}: {error.strerror or error}") from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write UTF-8 text, see `write_bytes`."""
    # Paths may hold bytes that are no UTF-8, or were read in a locale that knows none.
    write_bytes(path, text.encode(errors="surrogateescape"))


def write_json(path: Path, value: Any) -> None:
    """Write sorted, indented JSON, see `write_bytes`."""
    write_text(path, json.dumps(value, indent=1, sort_keys=True) + "\n")


def load_json(content: bytes) -> Any:
    """Return the JSON value in a file's content. Raises ValueError."""
    try:
        return json.loads(content)
    except RecursionError:
        raise ValueError("nested too deeply") from None


def set_aside(path: Path, reason: str) -> str:
    """Rename a damaged file to `<name>.damaged`, and return a warning in one line."""
    # What was set aside before stays.
    aside = path.with_name(f"{path.name}.damaged")
    for number in count(2):
        if not aside.exists():
            break
        aside = path.with_name(f"{path.name}.{number}.damaged")
    path.replace(aside)
    return f"{path.name} is damaged ({reason}) and was renamed to {aside}"
