"""Devices without Python: native_server.cc, with the runtime of a wheel of TVM."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

HOST = "127.0.0.1"
_SOURCE = Path(__file__).with_suffix(".cc")
_LIBRARIES = ("tvm_runtime", "tvm_runtime_extra", "tvm_ffi")  # those that tvm_rpc has


@dataclass(frozen=True, kw_only=True)
class Platform:
    """What a server is built with, and run by.

    tvm, tvm_ffi: the folders of these packages, for this platform. launcher: words that come before
    the program.
    """

    tvm: Path
    tvm_ffi: Path
    compiler: str
    launcher: tuple[str, ...] = ()


def this_platform() -> Platform:
    """Return the one of the installed TVM, which is not imported."""
    return Platform(tvm=_package("tvm"), tvm_ffi=_package("tvm_ffi"), compiler="g++")


def emulated_aarch64(packages: Path) -> Platform:
    """Return one that Debian's g++-aarch64-linux-gnu and qemu-user-static make of this machine.

    packages: a folder with aarch64 wheels of apache-tvm and apache-tvm-ffi, unpacked.
    """
    return Platform(
        tvm=packages / "tvm",
        tvm_ffi=packages / "tvm_ffi",
        compiler="aarch64-linux-gnu-g++",
        launcher=("qemu-aarch64-static", "-L", "/usr/aarch64-linux-gnu"),
    )


def build_native_server(folder: Path, platform: Platform | None = None) -> tuple[str, ...]:
    """Compile the server in this folder; return the command that starts it."""
    platform = platform or this_platform()
    program = folder / "native_server"
    folders = [package / "lib" for package in (platform.tvm, platform.tvm_ffi)]
    subprocess.run(
        [
            platform.compiler,
            *("-std=c++17", "-o", program, _SOURCE, f"-I{platform.tvm_ffi / 'include'}"),
            # The server uses no symbol of tvm_runtime's, which registers functions as it is loaded.
            *("-Wl,--no-as-needed", *(f"-l{name}" for name in _LIBRARIES)),
            *(f"-L{folder}" for folder in folders),
            *(f"-Wl,-rpath,{folder}" for folder in folders),
        ],
        check=True,
    )
    return (*platform.launcher, str(program))


@contextmanager
def native_server(
    command: tuple[str, ...], folder: Path, *, key: str, tracker_port: int | None = None
) -> Iterator[tuple[str, int]]:
    """Start a server; yield its host and port.

    command: from `build_native_server`. folder: for the sessions' files, and server.log. key: by
    which clients ask for it. tracker_port: of a tracker on this machine.
    """
    with (folder / "server.log").open("w") as log:
        server = subprocess.Popen(
            [*command, key, *([] if tracker_port is None else [str(tracker_port)])],
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=log,
            start_new_session=True,
        )
    with server:
        try:
            assert server.stdout is not None
            yield HOST, int(server.stdout.readline())
        finally:
            os.killpg(server.pid, signal.SIGKILL)


def _package(name: str) -> Path:
    spec = find_spec(name)
    assert spec is not None
    assert spec.origin is not None
    return Path(spec.origin).parent
