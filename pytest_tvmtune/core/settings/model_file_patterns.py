"""Model files that are tests: the patterns that select them, and their names."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from pytest_tvmtune.core.errors import OptionError

SUFFIX = ".onnx"
SIDECAR_SUFFIX = ".tvmtune.toml"
OFF = "off"
# The ONNX convention: a folder for each model, with a file of this name in it.
_NAME_OF_ALL = "model"


def parse_patterns(value: object, where: str) -> tuple[str, ...]:
    """Return the patterns of files to collect, none for `off`. Raises OptionError."""
    values = list(value) if isinstance(value, (list, tuple)) else [value]
    if values == [OFF]:
        return ()
    patterns: dict[str, None] = {}
    for one in values:
        if not isinstance(one, str) or not one.endswith(SUFFIX):
            raise OptionError(
                f"{where}: {one!r} is not a pattern of ONNX files, and only ONNX files are "
                f"collected; give a pattern that ends with {SUFFIX}, such as '*{SUFFIX}' or "
                f"'models/*{SUFFIX}', or give {OFF!r}"
            )
        patterns[one] = None
    return tuple(patterns)


def matches(path: Path, patterns: Sequence[str]) -> bool:
    """Whether the end of a file's path matches a pattern."""
    return any(path.match(pattern) for pattern in patterns)


def case_name(path: Path) -> str:
    """Return the name of a model file's case: its own name, or its folder's for `model.onnx`."""
    return path.stem if path.stem != _NAME_OF_ALL else path.parent.name or path.stem


def sidecar_path(path: Path) -> Path:
    """Return the path of a model file's sidecar, which may not exist."""
    return path.with_name(path.stem + SIDECAR_SUFFIX)
