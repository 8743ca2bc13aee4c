"""What keeps a machine from timing precisely, read from made-up /proc and /sys trees."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import pytest

from pytest_tvmtune.machine.timing_hindrances import timing_hindrances

CPU = "sys/devices/system/cpu"
NO_TURBO = f"{CPU}/intel_pstate/no_turbo"
BOOST = f"{CPU}/cpufreq/boost"
# Usable here; the machine has more, and numbers them in its own way.
CORES = (0, 2, 5, 7)


@pytest.fixture(autouse=True)
def _four_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(CORES), raising=False)
    # Of which others may use the rest: load is the machine's.
    monkeypatch.setattr(os, "cpu_count", lambda: 8)


def machine(root: Path, *, load: str = "0.10 0.20 0.30 1/234 5678", **files: str) -> Path:
    """Write a quiet machine: nothing in the way but what `files` add, by path."""
    write(root, {"proc/loadavg": load})
    for core in CORES:
        write(root, {governor(core): "performance", siblings(core): str(core)})
    write(root, files)
    return root


def write(root: Path, files: Mapping[str, str]) -> None:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text + "\n")


def governor(core: int) -> str:
    return f"{CPU}/cpu{core}/cpufreq/scaling_governor"


def siblings(core: int) -> str:
    return f"{CPU}/cpu{core}/topology/thread_siblings_list"


def test_nothing_is_in_the_way_of_a_quiet_machine(tmp_path: Path) -> None:
    assert timing_hindrances(machine(tmp_path)) == []


def test_where_nothing_can_be_told_nothing_is_said(tmp_path: Path) -> None:
    assert timing_hindrances(tmp_path) == []
    assert timing_hindrances(tmp_path / "absent") == []
    # No load, and folders where files are expected.
    for name in (NO_TURBO, governor(0), siblings(0)):
        (tmp_path / name).mkdir(parents=True)
    write(tmp_path, {"proc/loadavg": ""})
    assert timing_hindrances(tmp_path) == []


@pytest.mark.parametrize(
    ("load", "found"),
    [
        ("0.00", []),
        # Three quarters of eight cores are still fine.
        ("6.00", []),
        ("6.01", ["load average 6.01 on 8 cores"]),
        ("64.50", ["load average 64.50 on 8 cores"]),
        ("garbage", []),
    ],
)
def test_load_of_the_last_minute(tmp_path: Path, load: str, found: list[str]) -> None:
    # That of the last five and fifteen minutes is past.
    assert timing_hindrances(machine(tmp_path, load=f"{load} 99.00 99.00 1/234 5678")) == found


@pytest.mark.parametrize(
    ("governors", "found"),
    [
        ({5: "powersave"}, ["frequency governor performance, powersave"]),
        (dict.fromkeys(CORES, "schedutil"), ["frequency governor schedutil"]),
        # Not one of ours.
        ({1: "powersave", 3: "powersave"}, []),
    ],
)
def test_governors_of_the_usable_cores(
    tmp_path: Path, governors: dict[int, str], found: list[str]
) -> None:
    machine(tmp_path)
    write(tmp_path, {governor(core): name for core, name in governors.items()})
    assert timing_hindrances(tmp_path) == found


def test_cores_without_a_governor_are_as_those_of_a_virtual_machine(tmp_path: Path) -> None:
    machine(tmp_path)
    for core in CORES:
        (tmp_path / governor(core)).unlink()
    assert timing_hindrances(tmp_path) == []
    write(tmp_path, {governor(7): "ondemand"})
    assert timing_hindrances(tmp_path) == ["frequency governor ondemand"]


@pytest.mark.parametrize(
    ("files", "on"),
    [
        ({NO_TURBO: "0"}, True),
        ({NO_TURBO: "1"}, False),
        ({BOOST: "1"}, True),
        ({BOOST: "0"}, False),
        # Two drivers, one message.
        ({NO_TURBO: "0", BOOST: "1"}, True),
        ({NO_TURBO: "1", BOOST: "0"}, False),
    ],
)
def test_turbo(tmp_path: Path, files: dict[str, str], on: bool) -> None:
    assert timing_hindrances(machine(tmp_path, **files)) == (["turbo is on"] if on else [])


@pytest.mark.parametrize(
    ("lists", "found"),
    [
        # Neighbours, halves of the machine, and one pair only.
        ({0: "0,2", 2: "0,2", 5: "5,7", 7: "5,7"}, ["CPUs that share a physical core: 0,2; 5,7"]),
        ({0: "0-7", 2: "0-7", 5: "0-7", 7: "0-7"}, ["CPUs that share a physical core: 0-7"]),
        ({0: "0,2", 2: "0,2", 5: "5", 7: "7"}, ["CPUs that share a physical core: 0,2"]),
        # Each has a twin that is not used here, but may be by others.
        ({0: "0,8", 2: "2", 5: "5", 7: "7"}, ["CPUs that share a physical core: 0,8"]),
        ({0: "0,2", 2: "0,2", 5: "", 7: ""}, ["CPUs that share a physical core: 0,2"]),
        ({0: "0", 2: "2", 5: "5", 7: ""}, []),
    ],
)
def test_threads_of_one_physical_core(
    tmp_path: Path, lists: dict[int, str], found: list[str]
) -> None:
    machine(tmp_path)
    write(tmp_path, {siblings(core): text for core, text in lists.items()})
    assert timing_hindrances(tmp_path) == found


def test_all_that_is_in_the_way_is_told(tmp_path: Path) -> None:
    machine(tmp_path, load="9.00 0 0 1/2 3", **{NO_TURBO: "0", governor(0): "powersave"})
    write(tmp_path, {siblings(core): "0-7" for core in CORES})
    assert timing_hindrances(tmp_path) == [
        "load average 9.00 on 8 cores",
        "frequency governor performance, powersave",
        "turbo is on",
        "CPUs that share a physical core: 0-7",
    ]


def test_without_affinity_all_cores_are_usable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(os, "sched_getaffinity")
    monkeypatch.setattr(os, "cpu_count", lambda: 3)
    write(tmp_path, {"proc/loadavg": "2.30 0 0 1/2 3", governor(2): "powersave"})
    write(tmp_path, {governor(3): "ondemand"})
    assert timing_hindrances(tmp_path) == [
        "load average 2.30 on 3 cores",
        "frequency governor powersave",
    ]


def test_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever real files hold, it can be said in a few words."""
    monkeypatch.undo()
    assert all(0 < len(one) < 80 and one.isprintable() for one in timing_hindrances())
