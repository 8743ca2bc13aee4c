"""What one real version of TVM leaves in a store, and another makes of it."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.support import REAL_PYTHON, WITHOUT_TORCH

VERSIONS = Path(__file__).parents[2] / ".versions"
SUITE = """
import numpy as np
import pytest
from tvm.relax.frontend import nn

class MLP(nn.Module):
    def __init__(self):
        super().__init__()
        self.hidden = nn.Linear(64, 48)
        self.out = nn.Linear(48, 8)

    def forward(self, x):
        return self.out(nn.op.relu(self.hidden(x)))

@pytest.mark.tvm_tune(trials=6, prepack="both", threshold="300%")
def test_mlp(tvm_tune):
    spec = {"forward": {"x": nn.spec.Tensor((4, 64), "float32")}}
    tvm_tune(MLP(), spec=spec).check()
"""


def run(folder: Path, python: str, *options: str) -> tuple[int, list[dict[str, Any]], str]:
    """Run the suite with a version of TVM; return exit code, cases, and what was printed."""
    report = folder / "report.json"
    command = [python, "-m", "pytest", "-p", "no:cacheprovider", f"--tvm-json={report}", *options]
    done = subprocess.run(
        command,
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(WITHOUT_TORCH)},
        capture_output=True,
        text=True,
        check=False,
    )
    cases = json.loads(report.read_text())["cases"] if report.exists() else []
    return done.returncode, cases, done.stdout + done.stderr


@pytest.mark.parametrize(
    "version", [pytest.param("0.25.0.post1", marks=pytest.mark.slow), "0.26.0"]
)
def test_schedules_and_baselines_of_an_older_version(version: str, tmp_path: Path) -> None:
    older = VERSIONS / version / "bin" / "python"
    if not older.exists():
        pytest.skip(f"{older} isn't there: `make test` makes it")
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    (tmp_path / "test_mlp.py").write_text(SUITE)

    code, cases, text = run(tmp_path, str(older), "--tvm-update-new")
    assert code == 0, text
    assert [case["outcome"] for case in cases] == ["passed", "passed"]
    applied = {
        (case["prepack"], task["name"]): task["state"] for case in cases for task in case["tasks"]
    }

    code, cases, text = run(tmp_path, REAL_PYTHON, "--tvm-tuning=never")
    assert code == 0, text
    minor = ".".join(version.split(".")[:2])
    for case in cases:
        assert case["latency"]["verdict"] == "PASS"  # against the library of the older version
        for task in case["tasks"]:
            tuned = applied[case["prepack"], task["name"]] == "tuned"
            assert (task["state"] == "tuned") == tuned
            assert task["replayed_from"] == (minor if tuned else "")
    if "tuned" in applied.values():
        assert f"from TVM {minor}, not measured here" in text
