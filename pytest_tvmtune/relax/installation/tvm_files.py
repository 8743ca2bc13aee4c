"""TVM by content: the Python files and native libraries of `tvm` and `tvm_ffi`."""

from __future__ import annotations

import hashlib
import importlib.util
import os
import sys
from collections.abc import Iterable, Iterator
from functools import lru_cache
from pathlib import Path

from pytest_tvmtune.core.errors import EnvironmentProblemError
from pytest_tvmtune.machine.installed_tvm import tvm_origin
from pytest_tvmtune.store.file_digests import file_digests
from pytest_tvmtune.store.layout import Store

_PACKAGES = ("tvm", "tvm_ffi")
# Of a wheel: what a C++ compiler reads, and no process imports.
_NOT_IMPORTED = frozenset({"include", "src", "3rdparty", "licenses", "cmake"})
_CODE_SUFFIXES = (".py", ".pyc", ".so", ".dylib", ".pyd", ".dll")
# A source checkout has TVM's libraries in its build folder, and often LLVM's as a library, too.
_LOADED = ("libtvm", "libLLVM")
_BUILT = ("build/lib", "lib")
_MAPS = Path("/proc/self/maps")


def tvm_identity(store: Store) -> str:
    """Return the SHA-256 of TVM, as this process has imported it: of all that runs a library.

    The location doesn't count, only the content. Computed once a process.
    """
    return _identity(store, _outside(_loaded_libraries()))


def tvm_files_identity(store: Store) -> str:
    """Return the SHA-256 of the TVM that this process would import, without importing it.

    Without LLVM's own library, which a build from source can have, it's `tvm_identity`.
    """
    return _identity(store, _outside(_built_libraries()))


def tvm_info(store: Store) -> dict[str, str]:
    """Return what reports say of the installed TVM in addition to its version, without an import.

    `tvm_path`, `tvm_revision` (of git, "" for a wheel), and `tvm_identity` (the SHA-256 of its
    files).
    """
    origin = tvm_origin()
    is_loaded = "tvm" in sys.modules
    return {
        "tvm_path": origin.path,
        "tvm_revision": origin.revision,
        "tvm_identity": tvm_identity(store) if is_loaded else tvm_files_identity(store),
    }


def digest_of(parts: object) -> str:
    """Return the SHA-256 of plain values."""
    return hashlib.sha256(repr(parts).encode(errors="surrogateescape")).hexdigest()


@lru_cache(maxsize=4)
def _identity(store: Store, outside: frozenset[str]) -> str:
    """Return the SHA-256 of both packages, and of libraries outside of them."""
    try:
        files = {path: name for package in _PACKAGES for path, name in _files_of(package)}
    except OSError as error:
        raise EnvironmentProblemError(
            f"TVM's files can't be read, so the installed TVM can't be identified: {error}"
        ) from error
    digests = file_digests(store, [*files, *outside])
    # What a link in the package leads to has two paths.
    in_packages = {digests.get(path) for path in files}
    elsewhere = {digest for path in outside if (digest := digests.get(path)) not in in_packages}
    named = sorted((name, digests.get(path)) for path, name in files.items())
    return digest_of([named, sorted(filter(None, elsewhere))])


def _outside(libraries: Iterable[str]) -> frozenset[str]:
    """Return the paths that aren't in the folders of the packages."""
    folders = tuple(f"{folder}{os.sep}" for name in _PACKAGES for folder in _folders(name))
    return frozenset(path for path in libraries if not path.startswith(folders))


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


def _built_libraries() -> Iterator[str]:
    """Yield the paths of the libraries that a checkout's build has made, where TVM looks for them.

    Source: tvm/libinfo.py, tvm_ffi/libinfo.py.
    """
    named = [
        *filter(None, [os.environ.get("TVM_LIBRARY_PATH")]),
        *filter(None, os.environ.get("LD_LIBRARY_PATH", "").split(os.pathsep)),
    ]
    folders = [Path(folder) for folder in named]
    for package in (one for name in _PACKAGES for one in _folders(name)):  # <checkout>/python/tvm
        folders += [Path(package).parents[1] / below for below in _BUILT]
    for folder in folders:
        if folder.is_dir():
            yield from (str(path) for path in folder.glob("libtvm*.*") if path.is_file())
