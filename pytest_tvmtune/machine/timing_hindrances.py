"""Disturbances of measurements on this machine, as far as Linux shows them."""

from __future__ import annotations

import os
import re
from pathlib import Path

from pytest_tvmtune.core.errors import counted
from pytest_tvmtune.machine.fingerprint import allowed_cores

# Of the cores, kept busy: beyond it a sample is likely to be interrupted.
_BUSY = 0.75
_TURBO = (
    # file, what it holds while the clock is free to rise
    ("sys/devices/system/cpu/intel_pstate/no_turbo", "0"),
    ("sys/devices/system/cpu/cpufreq/boost", "1"),
)


def timing_hindrances(root: Path = Path("/")) -> list[str]:
    """Return the disturbances, each in a few words; nothing if they aren't known.

    root: where `proc` and `sys` are.
    """
    found = []
    cores = allowed_cores()
    load = re.match(r"\d+\.\d+", _read(root / "proc/loadavg"))
    # It counts the whole machine's processes.
    machine_cores = os.cpu_count() or 1
    if load and float(load[0]) > _BUSY * machine_cores:
        found.append(f"load average {load[0]} on {counted(machine_cores, 'core')}")
    cpu = root / "sys/devices/system/cpu"
    governors = {_read(cpu / f"cpu{core}/cpufreq/scaling_governor") for core in cores} - {""}
    if governors - {"performance"}:
        found.append(f"frequency governor {', '.join(sorted(governors))}")
    if any(_read(root / path) == free for path, free in _TURBO):
        found.append("turbo is on")
    # "0,8" or "0-1": others may run on those twins that this process may not use.
    lists = {_read(cpu / f"cpu{core}/topology/thread_siblings_list") for core in cores}
    if twins := sorted(one for one in lists if not one.isdigit() and one):
        found.append(f"CPUs that share a physical core: {'; '.join(twins)}")
    return found


def _read(path: Path) -> str:
    try:
        return path.read_text().strip()
    except (OSError, ValueError):
        return ""
