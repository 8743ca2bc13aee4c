"""For the pytest processes that tests start, and for their children.

`import tvm` would import torch, 1.4 s each time. Coverage leaves out what it makes half as slow
again and has nothing to tell of: that import, and children, which run the compiler's side.
"""

from __future__ import annotations

import sys
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType
from typing import Any

sys.modules["torch"] = None  # type: ignore[assignment]


class _Unmeasured:
    """Finds tvm, and stops a measurement while that is imported."""

    def __init__(self, measuring: Any) -> None:
        self._measuring = measuring

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        if name != "tvm":
            return None
        sys.meta_path.remove(self)
        spec = PathFinder.find_spec(name, path, target)
        if spec is not None and spec.loader is not None:
            execute = spec.loader.exec_module

            def unmeasured(module: ModuleType) -> None:
                self._measuring.stop()
                try:
                    execute(module)
                finally:
                    self._measuring.start()

            spec.loader.exec_module = unmeasured  # type: ignore[method-assign]
        return spec


if "coverage" in sys.modules:
    from coverage import Coverage

    if (current := Coverage.current()) is not None:
        ours = ("pytest_tvmtune.processes", "pytest_tvmtune.relax")
        if any(module in word for word in sys.orig_argv for module in ours):
            current.stop()
        else:
            sys.meta_path.insert(0, _Unmeasured(current))
