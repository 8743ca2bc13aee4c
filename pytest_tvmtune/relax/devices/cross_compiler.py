"""Linking for a device: the compiler command that makes libraries for a target's triple."""

from __future__ import annotations

import hashlib
import json
import platform
import shutil
from functools import lru_cache
from pathlib import Path
from typing import Any

from pytest_tvmtune.core.errors import LackingError
from pytest_tvmtune.relax import compat

_LINUX = "linux-gnu"
# In this order. Source: Debian's and the Android NDK's names of them.
_NAMES = ("{}-g++", "{}-gcc", "{}-clang++", "{}-clang")


def compiler_for(target_json: str, named: str) -> str:
    """Return the command that links libraries for a target, "" for this machine's own.

    named: the user's choice, "" to look for one by the target's triple.
    Raises LackingError where there is none.
    """
    if named:
        if shutil.which(named) is None:
            raise LackingError(f"cross_compiler: there is no command {named!r} on PATH")
        return named
    triple = str(json.loads(target_json).get("mtriple", ""))
    is_own = triple.split("-", maxsplit=1)[0] == platform.machine() and triple.endswith(_LINUX)
    if not triple or is_own:
        return ""
    # `aarch64-unknown-linux-gnu` is `aarch64-linux-gnu` to Debian.
    without_vendor = "-".join(part for part in triple.split("-") if part not in {"unknown", "none"})
    names = [name.format(one) for one in dict.fromkeys((triple, without_vendor)) for name in _NAMES]
    found = next((name for name in names if shutil.which(name)), None)
    if found is None:
        raise LackingError(
            f"no compiler for {triple} on PATH: looked for {', '.join(names)}; install one (on "
            f"Debian, g++-{without_vendor}), or name it with --tvm-cross-compiler=COMMAND"
        )
    return found


@lru_cache(maxsize=16)
def compiler_identity(compiler: str) -> str:
    """Return a compiler by content. compiler: as `compiler_for` returns it."""
    path = shutil.which(compiler) if compiler else None
    return hashlib.sha256(Path(path).read_bytes()).hexdigest() if path else compiler


def export_library(executable: Any, path: Path, compiler: str) -> None:
    """Write a compiled module as a shared library. compiler: as `compiler_for` returns it."""
    if compiler:
        executable.export_library(str(path), fcompile=compat.cross_compiler(compiler))
    else:
        executable.export_library(str(path))
