"""The native helper of a device (device_helper.cc), built once for each compiler."""

from __future__ import annotations

import hashlib
import secrets
from pathlib import Path

from pytest_tvmtune.core.error_text import cause_of
from pytest_tvmtune.core.errors import LackingError
from pytest_tvmtune.machine.installed_tvm import package_version
from pytest_tvmtune.relax import compat

_SOURCE = Path(__file__).with_name("device_helper.cc")


def build_helper(folder: Path, compiler: str) -> Path:
    """Return the helper, built into a folder where it isn't there yet.

    compiler: as `cross_compiler.compiler_for` returns it.
    Raises LackingError where the compiler fails.
    """
    from tvm_ffi.libinfo import include_paths

    parts = (_SOURCE.read_bytes(), compiler.encode(), package_version("tvm_ffi").encode())
    command = compiler or compat.get_cc()
    if not command:
        raise LackingError("there is no C++ compiler on PATH; install one, such as g++")
    digest = hashlib.sha256(b"\0".join(parts)).hexdigest()[:16]
    library = folder / f"device-helper-{digest}.so"
    if library.is_file():
        return library
    folder.mkdir(parents=True, exist_ok=True)
    made = library.with_name(f"{library.stem}-{secrets.token_hex(4)}.so")
    # Its own variables, whatever else in a process has the same names; of the C++ library nothing,
    # which may be older on the device; never unmapped, since a VM may outlive the helper's module.
    options = ["-O2", "-Wl,-Bsymbolic", "-Wl,--as-needed", "-Wl,-z,nodelete"]
    options += [f"-I{path}" for path in include_paths()]
    try:
        compat.create_shared(str(made), [str(_SOURCE)], options=options, cc=command)
    except (RuntimeError, OSError) as error:
        raise LackingError(
            f"{command} can't build the helper for devices: {cause_of(error)}"
        ) from error
    made.replace(library)
    return library
