"""Performance-regression testing of models compiled by Apache TVM, as a pytest plugin."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pytest_tvmtune.core.comparing.tolerances import Tolerance

__all__ = ["Tolerance"]

# Every pytest session imports this package: what is public is imported when it is first used.
_MODULES = {"Tolerance": "pytest_tvmtune.core.comparing.tolerances"}


def __getattr__(name: str) -> object:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_MODULES[name]), name)
