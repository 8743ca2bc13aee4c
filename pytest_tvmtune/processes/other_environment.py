"""Another environment: an interpreter with its own TVM, which is given this very plugin.

Both sides of a comparison use the same code of this package, regardless of the release that an
environment has. The packages that this package needs come from the environment. Where it lacks
them, they come from this process's `sys.path`, after the environment's own.
"""

from __future__ import annotations

import importlib.machinery
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pytest_tvmtune.core.errors import EnvironmentProblemError
from pytest_tvmtune.core.json_codec import from_json

_PACKAGE = Path(__file__).parents[1]
# Imported by the plugin, apart from tvm.
_NEEDED = ("numpy", "pytest", "msgspec", "filelock", "jinja2", "pytest_benchmark", "tqdm")
_TIMEOUT_S = 120.0
_MOST_WORDS = 100
# It needs nothing but the standard library, and parts of this package that need no more.
_PROBE = """
import importlib.metadata, importlib.util, json, sys
front, back, needed, package = json.loads(sys.argv[1])
own = list(filter(None, sys.path))

def lacks(names):
    return [name for name in names if importlib.util.find_spec(name) is None]

sys.path[:] = own
lacking = lacks(["tvm", "tvm_ffi"])
spec = importlib.util.find_spec("tvm") if "tvm" not in lacking else None
tvm = list(spec.submodule_search_locations or [""])[0] if spec else ""
missing = lacks(needed)
sys.path[:] = [*front, *own, *(back if missing else [])]
from pytest_tvmtune.machine.installed_tvm import package_version
group = importlib.metadata.entry_points(group="pytest11")
print(json.dumps({
    "python": list(sys.version_info[:2]), "tvm": tvm, "tvm_version": package_version("tvm"),
    "ffi_version": package_version("tvm_ffi"), "lacking": lacking, "missing": missing,
    "has_entry_point": any(one.value.startswith("pytest_tvmtune") for one in group),
}))
"""


@dataclass(frozen=True, kw_only=True)
class _Probed:
    """What an interpreter reports of its environment."""

    python: tuple[int, int]
    tvm: str
    tvm_version: str
    ffi_version: str
    lacking: list[str]
    missing: list[str]
    has_entry_point: bool


@dataclass(frozen=True, kw_only=True)
class OtherEnvironment:
    """An environment that can run this plugin.

    name: in messages. tvm: the folder of its TVM.
    front, back: before and after its own `sys.path`. borrowed: the packages that come from `back`.
    plugins: pytest's arguments that load the plugin.
    """

    name: str
    python: Path
    tvm: Path
    tvm_version: str
    ffi_version: str
    front: tuple[str, ...]
    back: tuple[str, ...]
    borrowed: tuple[str, ...]
    plugins: tuple[str, ...]

    @property
    def described(self) -> str:
        """Its TVM in words."""
        return f"TVM {self.tvm_version} (ffi {self.ffi_version}), {self.tvm}"


def examine_environment(name: str, interpreter: Path, folder: Path) -> OtherEnvironment:
    """Return the environment of an interpreter.

    Args:
        name: What messages call it.
        interpreter: Its path, or the name of a program.
        folder: Where a folder with nothing but this package is made.

    Raises:
        EnvironmentProblemError: The interpreter can't be started, or can't run the plugin.
    """
    front = [str(_link_to_this_package(folder))]
    back = [path for path in sys.path if path and Path(path).is_dir() and _has_needed(path)]
    request = json.dumps([front, back, _NEEDED, str(_PACKAGE)])
    what = f"--{name} {interpreter}"
    # Not resolved: the interpreter of a virtual environment is a link.
    interpreter = Path(os.path.abspath(shutil.which(interpreter) or interpreter))  # noqa: PTH100
    if interpreter.is_dir():
        raise EnvironmentProblemError(
            f"{what}: it is a folder; give the path of a Python interpreter, such as "
            f"{interpreter / 'bin' / 'python'}"
        )
    try:
        probe = subprocess.run(
            [str(interpreter), "-c", _PROBE, request],
            capture_output=True,
            text=True,
            timeout=_TIMEOUT_S,
            check=False,
            stdin=subprocess.DEVNULL,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        reason = getattr(error, "strerror", None) or "no answer in time"
        raise EnvironmentProblemError(
            f"{what}: can't start the interpreter: {reason}; give the path of a Python interpreter"
        ) from error
    try:
        found = from_json(probe.stdout.strip().rpartition("\n")[2].encode(), _Probed)
    except ValueError:
        last = probe.stderr.strip().rpartition("\n")[2][:_MOST_WORDS]
        last = last or f"exit code {probe.returncode}"
        raise EnvironmentProblemError(
            f"{what}: not a Python interpreter that works: {last}; give the path of a Python "
            "interpreter"
        ) from None
    _check(what, found)
    return OtherEnvironment(
        name=name,
        python=interpreter,
        tvm=Path(found.tvm),
        tvm_version=found.tvm_version,
        ffi_version=found.ffi_version,
        front=tuple(front),
        back=tuple(back) if found.missing else (),
        borrowed=tuple(found.missing),
        plugins=() if found.has_entry_point else ("-p", "pytest_tvmtune.plugin"),
    )


def _check(what: str, found: _Probed) -> None:
    """Raise EnvironmentProblemError for an environment that can't run the plugin."""
    theirs, here = (".".join(map(str, one)) for one in (found.python, sys.version_info[:2]))
    if found.lacking:
        raise EnvironmentProblemError(
            f"{what}: this environment has no {' and no '.join(found.lacking)}; install TVM there"
        )
    if found.missing and theirs != here:
        raise EnvironmentProblemError(
            f"{what}: this environment lacks {', '.join(found.missing)}, and has Python {theirs}, "
            f"so it can't use the packages of this Python {here}; install pytest-tvmtune there"
        )


def pytest_command(environment: OtherEnvironment, arguments: Sequence[str]) -> list[str]:
    """Return the command that runs pytest there, as `python -m pytest` would."""
    front = [*environment.front, os.getcwd()]  # noqa: PTH109
    path = f"[*{front!a}, *filter(None, sys.path), *{list(environment.back)!a}]"
    code = f"import sys; sys.path[:] = {path}; import pytest; sys.exit(pytest.main())"
    return [str(environment.python), "-c", code, *environment.plugins, *arguments]


def _link_to_this_package(folder: Path) -> Path:
    """Return a folder in which nothing but this package can be imported."""
    folder.mkdir(parents=True, exist_ok=True)
    link = folder.resolve() / _PACKAGE.name
    if not link.is_symlink() or link.readlink() != _PACKAGE:
        link.unlink(missing_ok=True)
        link.symlink_to(_PACKAGE, target_is_directory=True)
    return link.parent


def _has_needed(path: str) -> bool:
    """Whether a folder of `sys.path` has a package that the plugin needs."""
    finder = importlib.machinery.PathFinder()
    return any(finder.find_spec(name, [path]) is not None for name in _NEEDED)
