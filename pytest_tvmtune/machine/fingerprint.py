"""The fingerprint of a machine: properties that measured times depend on, found without tvm."""

from __future__ import annotations

import os
import platform
from dataclasses import dataclass
from functools import lru_cache
from importlib import metadata
from pathlib import Path

from pytest_tvmtune.machine.installed_tvm import NOT_INSTALLED, package_version

_CGROUP_V2 = Path("/sys/fs/cgroup/cpu.max")
_CGROUP_V1 = Path("/sys/fs/cgroup/cpu")
_CGROUP_MEMORY_V2 = Path("/sys/fs/cgroup")
_CGROUP_MEMORY_V1 = Path("/sys/fs/cgroup/memory")


@dataclass(frozen=True, kw_only=True)
class Fingerprint:
    """The machine and versions behind a measurement."""

    cpu: str
    usable_cores: int
    system: str
    python: str
    tvm: str
    tvm_ffi: str


@lru_cache(maxsize=1)
def fingerprint() -> Fingerprint:
    """Return this machine's fingerprint; versions are "not installed" where missing."""
    return Fingerprint(
        cpu=_cpu_model(),
        usable_cores=usable_cores(),
        system=f"{platform.system()} {platform.machine()}",
        python=platform.python_version(),
        tvm=package_version("tvm"),
        tvm_ffi=package_version("tvm_ffi"),
    )


@lru_cache(maxsize=16)
def installed_version(distribution: str) -> str:
    """Return a distribution's version without importing it, or "not installed"."""
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return NOT_INSTALLED


def allowed_cores() -> list[int]:
    """Return the numbers of the cores this process may run on, by its affinity."""
    if hasattr(os, "sched_getaffinity"):
        return sorted(os.sched_getaffinity(0))
    return list(range(os.cpu_count() or 1))


def usable_cores() -> int:
    """Return the cores this process may really use: affinity, then the cgroup's quota."""
    cores = len(allowed_cores())
    quota = _cgroup_quota()
    return max(1, min(cores, quota)) if quota else cores


def _cgroup_quota(v2: Path = _CGROUP_V2, v1: Path = _CGROUP_V1) -> int | None:
    """Return the whole cores a CPU quota allows (at least 1), or None without a quota."""
    try:
        if v2.is_file():
            quota, period = v2.read_text().split()
        else:
            quota = (v1 / "cpu.cfs_quota_us").read_text().strip()
            period = (v1 / "cpu.cfs_period_us").read_text().strip()
        if quota == "max" or int(quota) <= 0:
            return None
        return max(1, int(quota) // int(period))
    except (OSError, ValueError, ZeroDivisionError):
        return None


def cgroup_memory_bytes(v2: Path = _CGROUP_MEMORY_V2, v1: Path = _CGROUP_MEMORY_V1) -> int | None:
    """Return what this process's cgroup has left of its memory limit, or None without one."""
    pairs = (
        (v2 / "memory.max", v2 / "memory.current"),
        (v1 / "memory.limit_in_bytes", v1 / "memory.usage_in_bytes"),
    )
    for limit, used in pairs:
        try:
            # Where there is none: "max", or a number that no machine has.
            return max(0, int(limit.read_text()) - int(used.read_text()))
        except (OSError, ValueError):
            continue
    return None


def cpu_model(cpuinfo: str) -> str:
    """Return a CPU's model by the text of Linux's /proc/cpuinfo, "" where that names none."""
    lines: dict[str, str] = {}
    for line in cpuinfo.splitlines():
        name, _, value = line.partition(":")
        lines.setdefault(name.strip().lower(), value.strip())
    for name in ("model name", "cpu model"):
        if lines.get(name):
            return lines[name]
    # ARM's have numbers. Source: arm64's Main ID register.
    numbers = [lines.get(name, "") for name in ("cpu implementer", "cpu part")]
    board = lines.get("model") or lines.get("hardware", "")
    return f"{board} CPU {'/'.join(numbers)}".strip() if all(numbers) else board


def _cpu_model() -> str:
    try:
        model = cpu_model(Path("/proc/cpuinfo").read_text())
    except OSError:
        model = ""
    return model or platform.processor() or platform.machine()
