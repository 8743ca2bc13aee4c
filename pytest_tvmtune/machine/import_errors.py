"""The cause of a failed import in one line: the error of the module, and its place."""

from __future__ import annotations

import importlib
import re
import sys
import sysconfig
import traceback
from pathlib import Path
from typing import Any

from pytest_tvmtune.core.error_text import typed_cause_of
from pytest_tvmtune.core.errors import EnvironmentProblemError, ModelError, TvmTuneError

_LACKS_NAME = re.compile(r"module '([\w.]+)' has no attribute")
_OURS = Path(__file__).parents[1]
_STDLIB = [Path(sysconfig.get_path(name)) for name in ("stdlib", "platstdlib")]
_PYTHONS = frozenset([*_STDLIB, *(path.resolve() for path in _STDLIB)])


def import_package(name: str, purpose: str, install: str) -> Any:
    """Return an optional package's module.

    Raises ModelError where it isn't installed, EnvironmentProblemError where its import fails.
    """
    try:
        return importlib.import_module(name)
    except (Exception, SystemExit) as error:
        missing = isinstance(error, ModuleNotFoundError) and error.name == name.partition(".")[0]
        if missing:
            raise ModelError(f"{purpose} needs {name}: {install}") from None
        raise EnvironmentProblemError(
            f"{purpose} needs {name}, but `import {name}` fails: {import_cause(error)}"
        ) from error


def import_cause(error: BaseException) -> str:
    """Return what an import raised, where, and the file of a module that lacks a name."""
    if isinstance(error, TvmTuneError):
        return str(error)
    text = typed_cause_of(error)
    if lacking := _LACKS_NAME.search(str(error)):  # not error.obj: native code sets none
        file = getattr(sys.modules.get(lacking[1]), "__file__", None)
        text += f"; {lacking[1]} is {file}"
    at = _where(error)
    return f"{text} (at {at})" if at else text


def _where(error: BaseException) -> str:
    """Return the innermost file and line that is neither Python's own nor this package's."""
    if isinstance(error, SyntaxError) and error.filename:
        return f"{error.filename}:{error.lineno}"
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        file = Path(frame.filename)
        if file.is_absolute() and not file.is_relative_to(_OURS) and not in_standard_library(file):
            return f"{file}:{frame.lineno}"
    return ""


def in_standard_library(path: Path) -> bool:
    """Whether a file is Python's own; site-packages may be below, and isn't."""
    return not is_in_site_packages(path) and any(path.is_relative_to(one) for one in _PYTHONS)


def is_in_site_packages(path: Path) -> bool:
    """Whether a file was installed with a package."""
    return bool({"site-packages", "dist-packages"} & set(path.parts))
