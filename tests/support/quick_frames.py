"""TVMScript parsed in a fifth of the time where much is imported.

Its decorators ask for all frames, and `inspect` searches every loaded module for the file of each
frame of `<frozen importlib>` and `<ast>`, in vain: with torch loaded, most of the time of
collecting.
"""

from __future__ import annotations

import inspect
from types import FrameType, ModuleType
from typing import Any

_search = inspect.getmodule


def _getmodule(of: Any, _filename: str | None = None) -> ModuleType | None:
    if isinstance(of, FrameType) and of.f_code.co_filename.startswith("<"):
        return None
    return _search(of, _filename)


def search_no_made_up_files() -> None:
    """Have `inspect` find no module for a frame that has no file, without a search."""
    inspect.getmodule = _getmodule  # type: ignore[assignment]
