"""The machine's fingerprint and the cores a process may really use."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

import pytest

from pytest_tvmtune.core.versions import minor
from pytest_tvmtune.machine.fingerprint import (
    _cgroup_quota,
    cgroup_memory_bytes,
    fingerprint,
    installed_version,
    usable_cores,
)
from pytest_tvmtune.machine.installed_tvm import package_version


@pytest.mark.parametrize(
    ("content", "cores"),
    [
        ("max 100000\n", None),
        ("200000 100000\n", 2),
        ("250000 100000\n", 2),
        ("50000 100000\n", 1),
        ("1600000 100000\n", 16),
        ("400000 200000\n", 2),
        ("0 100000\n", None),
        ("-1 100000\n", None),
        ("200000 0\n", None),
        ("max\n", None),
        ("", None),
        ("garbage here\n", None),
    ],
)
def test_quota_of_cgroup_v2(tmp_path: Path, content: str, cores: int | None) -> None:
    v2 = tmp_path / "cpu.max"
    v2.write_text(content)
    # A v1 quota beside it must not be asked.
    (tmp_path / "cpu.cfs_quota_us").write_text("700000\n")
    (tmp_path / "cpu.cfs_period_us").write_text("100000\n")
    assert _cgroup_quota(v2, tmp_path) == cores


@pytest.mark.parametrize(
    ("quota", "period", "cores"),
    [("300000\n", "100000\n", 3), ("-1\n", "100000\n", None), ("50000\n", "100000\n", 1)],
)
def test_quota_of_cgroup_v1(tmp_path: Path, quota: str, period: str, cores: int | None) -> None:
    (tmp_path / "cpu.cfs_quota_us").write_text(quota)
    (tmp_path / "cpu.cfs_period_us").write_text(period)
    assert _cgroup_quota(tmp_path / "absent", tmp_path) == cores


def test_no_cgroup_no_quota(tmp_path: Path) -> None:
    assert _cgroup_quota(tmp_path / "absent", tmp_path / "absent") is None


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="needs CPU affinity")
def test_affinity_bounds_the_usable_cores() -> None:
    one = min(os.sched_getaffinity(0))
    code = (
        f"import os; os.sched_setaffinity(0, [{one}]);"
        "from pytest_tvmtune.machine.fingerprint import usable_cores; print(usable_cores())"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.strip() == "1"
    assert 1 <= usable_cores() <= (os.cpu_count() or 1)


@pytest.mark.parametrize(
    ("version", "short"),
    [("0.27.0.post1", "0.27"), ("0.27", "0.27"), ("1.2.3rc1", "1.2"), ("0.28.dev0", "0.28"),
     ("7", "7"), ("not installed", "not installed")],
)  # fmt: skip
def test_minor(version: str, short: str) -> None:
    assert minor(version) == short


def test_versions_come_from_metadata() -> None:
    assert installed_version("pytest") == pytest.__version__
    assert installed_version("no-such-distribution-anywhere") == "not installed"


def test_the_fingerprint_describes_this_machine() -> None:
    machine = asdict(fingerprint())
    assert json.loads(json.dumps(machine)) == machine
    assert machine["usable_cores"] == usable_cores()
    assert machine["python"] == sys.version.split()[0]
    assert machine["tvm"] == package_version("tvm")
    assert all(machine.values())


@pytest.mark.skipif(not Path("/proc/cpuinfo").is_file(), reason="needs /proc/cpuinfo")
def test_the_cpu_is_the_one_the_kernel_names() -> None:
    text = Path("/proc/cpuinfo").read_text()
    if "model name" not in text:
        pytest.skip("this kernel names no model")
    assert f": {fingerprint().cpu}\n" in text


@pytest.mark.parametrize(
    ("limit", "used", "left"),
    [("max\n", "5\n", None), ("100\n", "30\n", 70), ("100\n", "130\n", 0), ("lots\n", "1\n", None)],
)
def test_what_a_memory_limit_leaves(
    tmp_path: Path, limit: str, used: str, left: int | None
) -> None:
    for version, names in (
        ("v2", ("memory.max", "memory.current")),
        ("v1", ("memory.limit_in_bytes", "memory.usage_in_bytes")),
    ):
        (tmp_path / version).mkdir()
        for name, text in zip(names, (limit, used), strict=True):
            (tmp_path / version / name).write_text(text)
    absent = tmp_path / "absent"
    assert cgroup_memory_bytes(tmp_path / "v2", absent) == left
    assert cgroup_memory_bytes(absent, tmp_path / "v1") == left
    assert cgroup_memory_bytes(absent, absent) is None
