"""Whole files only: a temporary file beside its place, flushed to disk, then renamed."""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path
from typing import Any

from pytest_tvmtune.core.errors import StoreError


def write_bytes(path: Path, content: bytes) -> None:
    """Put `content` at `path` so that a reader sees the old file or the whole new one.

    Raises StoreError when the disk is full or the folder can't be written.
    """
    temporary: str | None = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).replace(path)
    except OSError as error:
        if temporary is not None:
            Path(temporary).unlink(missing_ok=True)
        raise StoreError(f"can't write {path}: {error.strerror or error}") from error


def write_text(path: Path, text: str) -> None:
    """Write UTF-8 text, see `write_bytes`."""
    write_bytes(path, text.encode())


def write_json(path: Path, value: Any) -> None:
    """Write sorted, indented JSON, see `write_bytes`."""
    write_text(path, json.dumps(value, indent=1, sort_keys=True) + "\n")


def set_aside(path: Path, reason: str) -> str:
    """Rename a damaged file to `<name>.damaged` and return a one-line warning that names it."""
    aside = path.with_name(path.name + ".damaged")
    path.replace(aside)
    return f"{path.name} is damaged ({reason}); set aside as {aside}"
