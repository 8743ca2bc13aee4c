"""The modules of `tvm_setup`: imported wherever a model is opened, compiled, tuned, or run."""

from __future__ import annotations

import ast
import importlib
import importlib.util
import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from pytest_tvmtune.core.errors import EnvironmentProblemError, OptionError
from pytest_tvmtune.machine.import_errors import (
    import_cause,
    in_standard_library,
    is_in_site_packages,
)

# TVM's own files are part of its identity; ours are no one's.
_NOT_THE_USERS = frozenset({"tvm", "tvm_ffi", "pytest_tvmtune", "pytest", "_pytest"})
_CODE_SUFFIXES = (".py", ".so", ".dylib")
_FILE = re.compile(r"[^\n\0]{1,200}\.\w{1,10}")

_in_use: list[str] = []


def setup_in_use() -> list[str]:
    """Return the modules that this process has imported, and its children must import."""
    return list(_in_use)


def use_setup(modules: Sequence[str]) -> None:
    """Import modules, in this order, for this process and for all children it starts.

    modules: dotted names, or absolute paths that end with .py. Those that were imported already
    stay as they are. Raises EnvironmentProblemError, with its cause, for one that can't be
    imported.
    """
    for module in modules:
        try:
            if module.endswith(".py"):
                _import_file(Path(module))
            else:
                importlib.import_module(module)
        except (Exception, SystemExit) as error:
            raise EnvironmentProblemError(
                f"tvm_setup: can't import {module}: {import_cause(error)}; all processes that "
                "compile and run models import it"
            ) from error
    _in_use[:] = modules


def setup_files(registering: Iterable[str]) -> list[Path]:
    """Return the files that the modules in use consist of, and all they import of the user's own.

    Of a package that is every file; and files that the code names, such as a native library.
    What is installed in site-packages counts where it is named itself, or has registered something
    with TVM (registering: the files that have): tox and nox install what they test. Else neither
    that nor the standard library's.
    """
    found = _FoundFiles(
        counted={one.partition(".")[0] for one in _in_use},
        registering=[Path(file).resolve() for file in registering],
    )
    for module in _in_use:
        if module.endswith(".py"):
            _add_file(Path(module), found)
        else:
            _add_module(module, found)
    return sorted(found.files)


@dataclass(kw_only=True)
class _FoundFiles:
    """What a search has found. packages: seen already.

    counted: top-level modules that count wherever they are. registering: files that do so.
    """

    counted: set[str]
    registering: list[Path]
    files: dict[Path, None] = field(default_factory=dict)
    packages: set[str] = field(default_factory=set)

    def counts(self, top: str, file: Path) -> bool:
        """Whether a module counts, of which this is the file, or its package's."""
        if not _is_installed(file) or top in self.counted:
            return True
        if file.name == "__init__.py":
            return any(one.is_relative_to(file.parent.resolve()) for one in self.registering)
        return file.resolve() in self.registering


def _import_file(path: Path) -> None:
    """Import a file as the module that its name says, once."""
    if not path.is_file():
        raise OptionError("the file does not exist")
    if (path.parent / "__init__.py").exists():
        raise OptionError("it is in a package; give its dotted name instead")
    known = sys.modules.get(path.stem)
    if known is not None:
        file = getattr(known, "__file__", None)
        if file is None or Path(file).resolve() != path.resolve():
            raise OptionError(f"another module has the name {path.stem}; rename the file")
        return
    spec = importlib.util.spec_from_file_location(path.stem, path)
    if spec is None or spec.loader is None:
        raise OptionError("it is not a Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[path.stem]
        raise


def _add_module(name: str, found: _FoundFiles) -> None:
    """Add the files of a module by its dotted name: of its whole package, if it is in one."""
    top = name.partition(".")[0]
    if top in _NOT_THE_USERS or top in sys.stdlib_module_names or not top:
        return
    folders, file = _places(top)
    if file is not None and not found.counts(top, file):
        return
    if file is not None and file.name != "__init__.py":
        _add_file(file, found)
    elif file is not None:
        if top in found.packages:
            return
        found.packages.add(top)
        for one in _code_below(file.parent):
            _add_file(one, found)
    else:  # a namespace package: anything may be in it, so only what is named
        for folder in folders:
            within = folder.joinpath(*name.split(".")[1:])
            for one in (within.with_name(f"{within.name}.py"), within / "__init__.py"):
                if one.is_file() and name != top and found.counts(top, one):
                    _add_file(one, found)


def _places(top: str) -> tuple[list[Path], Path | None]:
    """Return where a top-level module is: the folders of a namespace package, or its file."""
    try:
        spec = importlib.util.find_spec(top)
    except (ImportError, ValueError):
        return [], None
    if spec is None:
        return [], None
    if spec.has_location and spec.origin:
        return [], Path(spec.origin)
    return [Path(folder) for folder in spec.submodule_search_locations or ()], None


def _add_file(path: Path, found: _FoundFiles) -> None:
    path = path.resolve()
    if path in found.files:
        return
    found.files[path] = None
    if path.suffix != ".py":
        return
    try:
        tree = ast.parse(path.read_bytes())
    except (OSError, SyntaxError, ValueError):
        return
    for name in _imports(tree):
        _add_module(name, found)
    # A native library that it loads, or what else it reads.
    found.files.update(dict.fromkeys(_named_files(tree, path.parent)))


def _code_below(folder: Path) -> Iterator[Path]:
    for path in folder.rglob("*"):
        if path.suffix in _CODE_SUFFIXES and path.is_file():
            yield path


def _named_files(tree: ast.AST, folder: Path) -> Iterator[Path]:
    """Yield the files that a string in the code names: absolute, or from the code's own folder."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            path = folder / node.value
            if not _FILE.fullmatch(node.value) or not path.is_file():
                continue
            if path.is_relative_to(folder) or not _is_installed(path):
                yield path.resolve()


def _imports(tree: ast.AST) -> Iterator[str]:
    """Yield the dotted names that code imports absolutely; those within a package are in it."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module
            for alias in node.names:
                yield f"{node.module}.{alias.name}"


def _is_installed(path: Path) -> bool:
    """Whether a file belongs to the standard library or to an installed package."""
    return is_in_site_packages(path) or in_standard_library(path)
