"""pytest on devices: which one, by which setting, on how many workers; and `tvmtune doctor`."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from pytest_tvmtune.core.settings.rpc_address import TRACKER_VARIABLES, RpcAddress
from tests.support import IMPORTABLE, REAL_PYTHON

SUITE = """
import numpy as np
import pytest
from tests.support.modules import TwoLayers

@pytest.mark.tvm_tune(trials=4, threshold="90%")
@pytest.mark.parametrize("batch", [1, 2])
def test_it(tvm_tune, batch):
    params = [np.full((48, 48), batch / 48, "float32")] * 2
    run = tvm_tune(TwoLayers, params=params, inputs=[np.ones((4, 48), "float32")])
    run.check()
"""
Suite = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def suite(tmp_path: Path) -> Suite:
    """Return suite(*arguments, **environment): runs pytest on a suite of its own."""
    (tmp_path / "test_it.py").write_text(SUITE)

    def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        command = [REAL_PYTHON, "-m", "pytest", "-p", "no:cacheprovider", "--rootdir=."]
        return subprocess.run(
            [*command, *arguments, "test_it.py"],
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": str(IMPORTABLE), **environment},
            capture_output=True,
            text=True,
            check=False,
        )

    return run


def verdicts(report: Path) -> list[tuple[str, str, str]]:
    cases = json.loads(report.read_text())["cases"]
    return sorted((one["nodeid"], one["outcome"], one["latency"]["verdict"]) for one in cases)


def test_four_workers_on_two_devices_say_what_one_says(
    suite: Suite, two_devices: RpcAddress, tmp_path: Path
) -> None:
    device = f"--tvm-rpc={two_devices}"
    first = suite(device, "-n4", "--dist=worksteal", "--tvm-update-new", "--tvm-json=first.json")
    assert "2 passed" in first.stdout, first.stdout
    trials = sum(
        one["trials_spent"] for one in json.loads((tmp_path / "first.json").read_text())["cases"]
    )
    # Two items have the same tasks: one of them tunes.
    assert trials == 4
    done = suite(device, "--tvm-json=now.json")
    assert "2 passed" in done.stdout, done.stdout
    now = verdicts(tmp_path / "now.json")
    assert {verdict for _, _, verdict in now} == {"PASS"}
    assert [name for name, _, _ in now] == [
        name for name, _, _ in verdicts(tmp_path / "first.json")
    ]


def test_the_variables_of_tvm_name_the_device(
    suite: Suite, two_devices: RpcAddress, tmp_path: Path
) -> None:
    values = (two_devices.host, str(two_devices.port), two_devices.key)
    done = suite(
        "--tvm-json=now.json",
        "--tvm-tuning=never",
        **dict(zip(TRACKER_VARIABLES, values, strict=True)),
    )
    assert "2 passed" in done.stdout, done.stdout
    cases = json.loads((tmp_path / "now.json").read_text())["cases"]
    assert {one["latency"]["verdict"] for one in cases} == {"NEW"}


def test_doctor_examines_a_device(two_devices: RpcAddress, tmp_path: Path) -> None:
    command = [
        REAL_PYTHON,
        "-c",
        "import sys; from pytest_tvmtune.cli import main; sys.exit(main())",
    ]
    done = subprocess.run(
        [*command, "doctor", f"--rpc={two_devices}", "--max-time=2s", "--threshold=90%", "--json"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    report = json.loads(done.stdout)
    found = {one["name"]: one for one in report["findings"]}
    assert report["sensible"], done.stdout
    assert "answers in" in found["connection"]["text"]
    assert f"[{two_devices.key}]" in found["CPU"]["text"]
    assert "against itself" in found["noise"]["text"]
    assert not list(tmp_path.iterdir())


def test_doctor_says_what_is_wrong_with_a_device(tmp_path: Path) -> None:
    command = [
        REAL_PYTHON,
        "-c",
        "import sys; from pytest_tvmtune.cli import main; sys.exit(main())",
    ]
    target = "--target=llvm -mtriple=riscv64-none-elf"
    done = subprocess.run(
        [*command, "doctor", "--rpc=127.0.0.1:1", target],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "no compiler for riscv64-none-elf on PATH" in done.stdout
