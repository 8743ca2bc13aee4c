"""New interpreters for jobs, in this environment and in other environments."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path


def import_path() -> list[str]:
    """Return this process's `sys.path` for a child: absolute, in the same order.

    Not by PYTHONPATH, which would put site-packages before the standard library.
    """
    path = [os.path.abspath(one) for one in sys.path if isinstance(one, str)]  # noqa: PTH100
    ours = str(Path(__file__).parents[2])
    # An import hook may have found this package elsewhere.
    return path if ours in path else [*path, ours]


def command(module: str, *arguments: str) -> list[str]:
    """Return the command of an interpreter that calls `main()` of a module of this package.

    The child imports nothing else first, and nothing from the folder that it is started in.
    """
    return [sys.executable, *_call(f"{import_path()!a}", module), *arguments]


def command_elsewhere(interpreter: Path, module: str, *arguments: str) -> list[str]:
    """Return the command of an interpreter in another environment, which has this package.

    It imports what that environment has, and nothing of this process's `sys.path`.
    """
    return [str(interpreter), *_call("filter(None, sys.path)", module), *arguments]


def command_with_path(
    interpreter: Path, path: Sequence[str], module: str, *arguments: str
) -> list[str]:
    """Return the command of an interpreter in another environment, with this `sys.path`."""
    return [str(interpreter), *_call(f"{list(path)!a}", module), *arguments]


def script_command(script: Path, *arguments: str) -> list[str]:
    """Return the command of an interpreter that runs a script with this process's `sys.path`."""
    run = "sys.argv[:] = sys.argv[1:]; import runpy; runpy.run_path(sys.argv[0], None, '__main__')"
    code = f"import sys; sys.path[:] = {import_path()!a}; {run}"
    return [sys.executable, "-c", code, str(script), *arguments]


def _call(path: str, module: str) -> list[str]:
    # As an expression: any other form would take an import, or break on an odd path.
    return ["-c", f"import sys; sys.path[:] = {path}; from {module} import main; main()"]
