"""How processes load TVM without knowing it: `relax/installation/tvm_process.py`, by name."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from typing import Protocol, cast


class Loading(Protocol):
    """What `relax/installation/tvm_process.py` offers."""

    def begin(self) -> None: ...  # noqa: D102
    def load_ahead(self) -> None: ...  # noqa: D102
    def import_setup(self, modules: Sequence[str]) -> None: ...  # noqa: D102


def loading() -> Loading:
    """Return the module that loads TVM; importing it imports no tvm."""
    return cast("Loading", importlib.import_module("pytest_tvmtune.relax.installation.tvm_process"))
