"""Models that need no IRModule, in a suite of their own."""

from __future__ import annotations

import pytest

SUITE = """
import pytest
import tvm_suite

@pytest.mark.tvm_tune(trials=0)
def test_module(tvm_tune):
    run = tvm_tune(tvm_suite.MODULE, inputs=(tvm_suite.X,))
    run.check("torch")
    assert (run.result.errors[0].against, run.result.errors[0].passed) == ("torch", True)

@pytest.mark.tvm_tune(trials=0)
def test_own_passes(tvm_tune):
    run = tvm_tune(tvm_suite.MODULE, inputs=(tvm_suite.X,), pipeline=lambda mod: mod)
    run.check("torch")
    assert run.tasks == []
"""

MODELS = """
import torch

torch.manual_seed(0)
MODULE = torch.nn.Linear(8, 8).eval()
X = torch.randn(2, 8)
"""


def test_torch_and_own_passes(suite: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PYTHONPATH")
    suite.makepyfile(test_it=SUITE, tvm_suite=MODELS)
    result = suite.runpytest_subprocess("--tvm-prepack=both", "-rs")
    result.assert_outcomes(passed=3, skipped=1, warnings=0)
    result.stdout.fnmatch_lines(["SKIPPED * prepack belongs to the stock pipeline, and *"])
