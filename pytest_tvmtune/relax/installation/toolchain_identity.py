"""What compiles and runs models, by content: TVM as it is imported, the compiler, the user's setup.

Versions aren't enough: developing TVM, or patching a wheel, makes another TVM of the same version.
"""

from __future__ import annotations

import os
import re
import subprocess
from functools import lru_cache
from pathlib import Path
from shutil import which

from pytest_tvmtune.core.errors import EnvironmentProblemError
from pytest_tvmtune.processes.setup_modules import setup_files, setup_in_use
from pytest_tvmtune.relax.installation.registrations import recorded
from pytest_tvmtune.relax.installation.startup_check import check_compiler
from pytest_tvmtune.relax.installation.tvm_files import digest_of, tvm_identity
from pytest_tvmtune.store.file_digests import file_digests
from pytest_tvmtune.store.layout import Store

# The program of a compiler itself, and not of what calls one (ccache, a script).
_COMPILER = re.compile(r"(.*-)?(g\+\+|gcc|clang\+\+|clang|c\+\+|cc)(-[\d.]+)?")


def toolchain_identity(store: Store) -> str:
    """Return the SHA-256 of the tools that make a library of a module: TVM and the C++ compiler.

    It covers every Python file and native library of `tvm` and `tvm_ffi`, as this process imports
    them; the compiler's program, and the compiler's description of itself. The location doesn't
    count, only the content. Computed once a process.
    """
    return digest_of({"tvm": tvm_identity(store), "compiler": _compiler(store)})


def setup_identity(store: Store) -> str:
    """Return the SHA-256 of the modules of `tvm_setup` and all they import, "" without any."""
    modules = tuple(setup_in_use())
    return _setup_identity(store, modules) if modules else ""


@lru_cache(maxsize=4)
def _setup_identity(store: Store, modules: tuple[str, ...]) -> str:
    files = [str(path) for path in setup_files(one.file for one in recorded())]
    digests = file_digests(store, files)
    names = [Path(module).name for module in modules]  # the order counts: one may override another
    return digest_of([names, sorted((Path(file).name, digests.get(file, "")) for file in files)])


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
