"""Disturbances of measurements on this machine, as far as Linux shows them."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Sequence
from pathlib import Path

from pytest_tvmtune.core.errors import counted
from pytest_tvmtune.machine.fingerprint import allowed_cores

# Of the cores, kept busy: beyond it a sample is likely to be interrupted.
_BUSY = 0.75
_CPU = "/sys/devices/system/cpu"
_TURBO = (
    # file, what it holds while the clock is free to rise
    (f"{_CPU}/intel_pstate/no_turbo", "0"),
    (f"{_CPU}/cpufreq/boost", "1"),
)


def timing_hindrances(root: Path = Path("/")) -> list[str]:
    """Return the disturbances, each in a few words; nothing if they aren't known.

    root: where `proc` and `sys` are.
    """
    # The load counts the whole machine's processes.
    return hindrances(
        lambda path: _read(root / path.lstrip("/")),
        cores=allowed_cores(),
        machine_cores=os.cpu_count() or 1,
    )


def hindrances(
    read: Callable[[str], str], *, cores: Sequence[int], machine_cores: int
) -> list[str]:
    """Return a machine's disturbances, as `timing_hindrances` does.

    read: returns the content of a file of the machine, "" where there is none. cores: those that
    are used; machine_cores: how many there are.
    """
    found = []
    load = re.match(r"\d+\.\d+", read("/proc/loadavg"))
    if load and float(load[0]) > _BUSY * machine_cores:
        found.append(f"load average {load[0]} on {counted(machine_cores, 'core')}")
    governors = {read(f"{_CPU}/cpu{core}/cpufreq/scaling_governor").strip() for core in cores}
    if governors - {"performance", ""}:
        found.append(f"frequency governor {', '.join(sorted(governors - {''}))}")
    if any(read(path).strip() == free for path, free in _TURBO):
        found.append("turbo is on")
    # "0,8" or "0-1": others may run on those twins that this process may not use.
    lists = {read(f"{_CPU}/cpu{core}/topology/thread_siblings_list").strip() for core in cores}
    if twins := sorted(one for one in lists if not one.isdigit() and one):
        found.append(f"CPUs that share a physical core: {'; '.join(twins)}")
    return found


def _read(path: Path) -> str:
    try:
        return path.read_text().strip()
    except (OSError, ValueError):
        return ""
