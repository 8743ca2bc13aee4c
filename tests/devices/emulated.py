"""Makes an emulated device: an aarch64 Debian with TVM's RPC server, on an x86-64 Debian.

Usage: python tests/devices/emulated.py FOLDER

Tests compare the numbers that the device computes, and use TVM's protocol with it. Its times are
the emulator's, so no test looks at them.

FOLDER gets Debian's Python for arm64 (`root`), the aarch64 wheels of this environment's TVM and of
what it imports (`site`), and `.installed`, with the versions of TVM. It takes 430 MB. What FOLDER
already has is not made again. The machine's own packages stay as they are. Only if the emulator or
the cross compiler is missing, root gets it by apt-get, and others get a message.
"""

from __future__ import annotations

import os
import platform
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

CROSS_COMPILER = "aarch64-linux-gnu-g++"
EMULATOR = "qemu-aarch64-static"
_TOOLS = {EMULATOR: "qemu-user-static", CROSS_COMPILER: "g++-aarch64-linux-gnu"}
_DEBIAN_PACKAGES = ("python3-minimal", "libpython3-stdlib", "libstdc++6")
# With TVM; what else `import tvm.rpc.server` needs.
_OTHER_WHEELS = ("numpy", "ml_dtypes", "psutil", "cloudpickle", "typing_extensions")
# Wheels for these versions of glibc, of which the newest is Debian 12's.
_PLATFORMS = ("manylinux2014_aarch64", *(f"manylinux_2_{i}_aarch64" for i in range(17, 37)))
_SERVER = Path(__file__).parents[1] / "support/rpc_process.py"
_PACKAGES_OF_TVM = ("apache-tvm", "apache-tvm-ffi")


class NoDeviceError(Exception):
    """Says in one line why there is no emulated device, and what to do."""


@dataclass(frozen=True, kw_only=True)
class EmulatedServer:
    """Where an RPC server listens."""

    host: str
    port: int


def make(folder: Path) -> None:
    """Make the device in a folder, or what is missing of it. Raises NoDeviceError."""
    _check_machine()
    _install_tools()
    wanted = _wanted()
    stamp = folder / ".installed"
    folder.mkdir(parents=True, exist_ok=True)
    if not (folder / "root").exists():
        _unpack_debian(folder)
    if not stamp.exists() or stamp.read_text() != wanted:
        stamp.unlink(missing_ok=True)
        _install_wheels(folder, wanted.split())
        # The first import also writes bytecode, which halves the time that each start takes.
        _run([*_python(folder), "-c", "import tvm.rpc.server"], env=_environment(folder))
        stamp.write_text(wanted)


def why_missing(folder: Path) -> str | None:
    """Return why tests can't use the device in a folder, or None if they can."""
    try:
        _check_machine()
        wanted = _wanted()
    except NoDeviceError as error:
        return str(error)
    stamp = folder / ".installed"
    if _missing_tools() or not stamp.exists() or stamp.read_text() != wanted:
        return "needs the emulated device: run `make .devices/aarch64/.installed`"
    return None


@contextmanager
def emulated_server(
    folder: Path,
    *,
    key: str = "emulated",
    tracker: tuple[str, int] | None = None,
    timeout_s: float = 120.0,
) -> Iterator[EmulatedServer]:
    """Run an RPC server on the device in a folder; it listens on loopback.

    tracker: host and port of a tracker, which then knows the server by its key. Its sessions end
    with the server. Raises NoDeviceError if the server doesn't start.
    """
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as scratch:
        printed, errors = Path(scratch) / "stdout", Path(scratch) / "stderr"
        with printed.open("wb") as stdout, errors.open("wb") as stderr:
            process = subprocess.Popen(
                [*_python(folder), str(_SERVER), "server", "0", key, *map(str, tracker or ())],
                stdin=subprocess.PIPE,
                stdout=stdout,
                stderr=stderr,
                env={**_environment(folder), "TMPDIR": scratch},
                start_new_session=True,
            )
        try:
            port = _port(process, printed, errors, timeout_s)
            yield EmulatedServer(host="127.0.0.1", port=port)
        finally:
            with suppress(ProcessLookupError):  # it has ended
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            assert process.stdin is not None
            process.stdin.close()


def _port(process: subprocess.Popen[bytes], printed: Path, errors: Path, timeout_s: float) -> int:
    """Wait for the port that the server prints."""
    end = time.monotonic() + timeout_s
    while not (line := printed.read_text()).endswith("\n"):
        code = process.poll()
        if code is not None or time.monotonic() > end:
            ending = f"exit code {code}" if code is not None else f"no port after {timeout_s:g} s"
            log = errors.read_text(errors="replace")
            raise NoDeviceError(f"the emulated RPC server didn't start: {ending}\n{log}")
        time.sleep(0.05)
    return int(line)


def _python(folder: Path) -> list[str]:
    """Return the command of the device's Python; -S, since its `site` is in PYTHONPATH."""
    root = folder / "root"
    return [EMULATOR, "-L", str(root), str(root / "usr/bin" / _python_name(root)), "-S"]


def _python_name(root: Path) -> str:
    return (root / "usr/bin/python3").readlink().name


def _environment(folder: Path) -> dict[str, str]:
    """Return the environment variables of the device, without those of this machine's Python."""
    return {
        "PATH": os.environ.get("PATH", os.defpath),
        "PYTHONPATH": str(folder / "site"),
        "LC_ALL": "C.UTF-8",
    }


def _check_machine() -> None:
    if (sys.platform, platform.machine()) != ("linux", "x86_64"):
        raise NoDeviceError("the emulated device needs x86-64 Linux")
    if not (shutil.which("apt-get") and shutil.which("dpkg-deb")):
        raise NoDeviceError("the emulated device needs Debian: there is no apt-get or no dpkg-deb")


def _wanted() -> str:
    """Return the requirements of the TVM of this environment, a line each."""
    try:
        return "".join(f"{name}=={version(name)}\n" for name in _PACKAGES_OF_TVM)
    except PackageNotFoundError as error:
        raise NoDeviceError(
            f"the emulated device needs TVM from a wheel: no package {error.name} is installed"
        ) from error


def _missing_tools() -> list[str]:
    return [package for command, package in _TOOLS.items() if shutil.which(command) is None]


def _install_tools() -> None:
    packages = _missing_tools()
    if not packages:
        return
    if os.geteuid() != 0:
        raise NoDeviceError(f"the emulated device needs `apt-get install {' '.join(packages)}`")
    install = ["apt-get", "-qq", "install", "--yes", "--no-install-recommends", *packages]
    _run(["apt-get", "-qq", "update"])
    _run(install, env={**os.environ, "DEBIAN_FRONTEND": "noninteractive"})


def _unpack_debian(folder: Path) -> None:
    """Unpack Debian's arm64 packages, by an apt that knows no other architecture and no package."""
    with _new_folder(folder / "root") as root, tempfile.TemporaryDirectory() as state:
        place = Path(state)
        (place / "status").touch()
        (place / "lists/partial").mkdir(parents=True)
        (place / "cache/archives/partial").mkdir(parents=True)
        settings = {
            "APT::Architecture": "arm64",
            "APT::Architectures::": "arm64",
            "APT::Sandbox::User": "root",
            "Acquire::Languages": "none",
            "Dir::Cache": place / "cache",
            "Dir::State": place,
            "Dir::State::lists": place / "lists",
            "Dir::State::status": place / "status",
        }
        apt_get = ["apt-get", "-qq"]
        for name, value in settings.items():
            apt_get += ["-o", f"{name}={value}"]
        _run([*apt_get, "update"])
        download = ["--download-only", "--no-install-recommends", "--yes", "install"]
        _run([*apt_get, *download, *_DEBIAN_PACKAGES])
        for package in (place / "cache/archives").glob("*.deb"):
            _run(["dpkg-deb", "--extract", str(package), str(root)])


def _install_wheels(folder: Path, of_tvm: Sequence[str]) -> None:
    device_version = _python_name(folder / "root").removeprefix("python")
    platforms = [option for name in _PLATFORMS for option in ("--platform", name)]
    with _new_folder(folder / "site") as site:
        _run(
            [
                sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check",
                "--no-deps", "--no-compile", "--only-binary=:all:", "--implementation=cp",
                f"--python-version={device_version}", *platforms, f"--target={site}",
                *of_tvm, *_OTHER_WHEELS,
            ]
        )  # fmt: skip


@contextmanager
def _new_folder(path: Path) -> Iterator[Path]:
    """Fill a folder next to its place, and move it there when it's complete."""
    unfinished = path.with_name(f"{path.name}.unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir()
    yield unfinished
    shutil.rmtree(path, ignore_errors=True)
    unfinished.rename(path)


def _run(command: Sequence[str], env: dict[str, str] | None = None) -> None:
    """Run a command. Raises NoDeviceError, with the first error that it printed."""
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    if done.returncode:
        lines = [line for line in done.stderr.splitlines() if line.strip()] or ["no error message"]
        errors = [line for line in lines if line.startswith(("E:", "ERROR:"))]
        name = "pip" if "pip" in command else Path(command[0]).name
        raise NoDeviceError(
            f"the emulated device can't be made: {name}: {(errors or lines[-1:])[0]}"
        )


if __name__ == "__main__":
    try:
        make(Path(sys.argv[1]).absolute())
    except NoDeviceError as error:
        sys.exit(str(error))
