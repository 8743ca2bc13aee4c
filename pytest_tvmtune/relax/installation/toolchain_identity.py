"""What compiles and runs models, by content: TVM as it is imported, the compiler, the user's setup.

Versions aren't enough: developing TVM, or patching a wheel, makes another TVM of the same version.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from shutil import which

from pytest_tvmtune.core.errors import EnvironmentProblemError
from pytest_tvmtune.processes.setup_modules import setup_files, setup_in_use
from pytest_tvmtune.relax.installation.registrations import recorded
from pytest_tvmtune.relax.installation.startup_check import check_compiler
from pytest_tvmtune.store.file_digests import file_digests
from pytest_tvmtune.store.layout import Store

_PACKAGES = ("tvm", "tvm_ffi")
# Of a wheel: what a C++ compiler reads, and no process imports.
_NOT_IMPORTED = frozenset({"include", "src", "3rdparty", "licenses", "cmake"})
_CODE_SUFFIXES = (".py", ".pyc", ".so", ".dylib", ".pyd", ".dll")
# A source checkout has TVM's libraries in its build folder, and often LLVM's as a library, too.
_LOADED = ("libtvm", "libLLVM")
# The program of a compiler itself, and not of what calls one (ccache, a script).
_COMPILER = re.compile(r"(.*-)?(g\+\+|gcc|clang\+\+|clang|c\+\+|cc)(-[\d.]+)?")
_MAPS = Path("/proc/self/maps")


def toolchain_identity(store: Store) -> str:
    """Return the SHA-256 of the tools that make a library of a module: TVM and the C++ compiler.

    It covers every Python file and native library of `tvm` and `tvm_ffi`, as this process imports
    them; the compiler's program, and the compiler's description of itself. The location doesn't
    count, only the content. Computed once a process.
    """
    return _digest_of({"tvm": tvm_identity(store), "compiler": _compiler(store)})


@lru_cache(maxsize=4)
def tvm_identity(store: Store) -> str:
    """Return the SHA-256 of TVM alone, see `toolchain_identity`: what runs a library."""
    try:
        files = {path: name for package in _PACKAGES for path, name in _files_of(package)}
    except OSError as error:
        raise EnvironmentProblemError(
            f"TVM's files can't be read, so the installed TVM can't be identified: {error}"
        ) from error
    loaded = _loaded_libraries()
    digests = file_digests(store, [*files, *loaded])
    # What a link in the package leads to has two paths.
    in_packages = {digests.get(path) for path in files}
    elsewhere = {digest for path in loaded if (digest := digests.get(path)) not in in_packages}
    named = sorted((name, digests.get(path)) for path, name in files.items())
    return _digest_of([named, sorted(filter(None, elsewhere))])


def setup_identity(store: Store) -> str:
    """Return the SHA-256 of the modules of `tvm_setup` and all they import, "" without any."""
    modules = tuple(setup_in_use())
    return _setup_identity(store, modules) if modules else ""


@lru_cache(maxsize=4)
def _setup_identity(store: Store, modules: tuple[str, ...]) -> str:
    files = [str(path) for path in setup_files(one.file for one in recorded())]
    digests = file_digests(store, files)
    names = [Path(module).name for module in modules]  # the order counts: one may override another
    return _digest_of([names, sorted((Path(file).name, digests.get(file, "")) for file in files)])


@lru_cache(maxsize=4)
def _compiler(store: Store) -> list[str]:
    """Return what identifies a compiler, and the linker that it calls."""
    try:
        compiler = check_compiler()
    except EnvironmentProblemError:
        return []
    program, linker = os.path.realpath(compiler), os.path.realpath(which("ld") or "")
    digests = file_digests(store, [program, linker])
    known = _COMPILER.fullmatch(Path(program).name) and _is_native(program)
    return [digests.get(program, ""), digests.get(linker, ""), "" if known else _says(compiler)]


def _is_native(program: str) -> bool:
    try:
        with Path(program).open("rb") as file:
            return file.read(2) != b"#!"
    except OSError:
        return False


def _says(compiler: str) -> str:
    """Return what a compiler says of its version, which may be another program that calls it."""
    try:
        done = subprocess.run([compiler, "--version"], capture_output=True, check=False, timeout=10)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.decode(errors="replace")


def _files_of(package: str) -> Iterator[tuple[str, str]]:
    """Yield (path, name within the package) of all code of a package."""
    for folder in _folders(package):
        pending, links = [folder], {os.path.realpath(folder)}
        while pending:
            below = pending.pop()
            with os.scandir(below) as entries:
                for entry in entries:
                    if below == folder and entry.name in _NOT_IMPORTED:
                        continue
                    if entry.name.endswith(_CODE_SUFFIXES) or ".so." in entry.name:
                        yield entry.path, package + entry.path[len(folder) :]
                    elif entry.name != "__pycache__" and entry.is_dir():
                        if entry.is_symlink():  # it may lead back
                            if (target := os.path.realpath(entry.path)) in links:
                                continue
                            links.add(target)
                        pending.append(entry.path)


def _folders(package: str) -> list[str]:
    module = sys.modules.get(package)
    if module is not None:
        return list(module.__path__)
    spec = importlib.util.find_spec(package)
    return list(spec.submodule_search_locations or ()) if spec else []


def _loaded_libraries() -> list[str]:
    """Return the paths of TVM's and LLVM's libraries that this process has loaded, on Linux."""
    try:
        lines = _MAPS.read_text(errors="surrogateescape").splitlines()
    except OSError:
        return []
    paths = {line[line.index("/") :] for line in lines if "/lib" in line}
    return sorted(path for path in paths if path.rpartition("/")[2].startswith(_LOADED))


def _digest_of(parts: object) -> str:
    return hashlib.sha256(repr(parts).encode(errors="surrogateescape")).hexdigest()
