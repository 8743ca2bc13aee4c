"""Hooks that a conftest implements, and what is shown while a model is tuned."""

from __future__ import annotations

import json

import pytest

SUITE = """
import pytest
from tvm.relax.frontend import nn

class Tiny(nn.Module):
    def __init__(self):
        self.fc = nn.Linear(4, 4)
    def forward(self, x):
        return self.fc(x)

SPEC = {"forward": {"x": nn.spec.Tensor((1, 4), "float32")}}
"""


@pytest.fixture
def suite(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> pytest.Pytester:
    monkeypatch.delenv("TVM_TEST_TARGETS", raising=False)
    pytester.makeini("[pytest]\n")
    return pytester


@pytest.mark.parametrize("workers", [(), ("-n", "1")], ids=["plain", "xdist"])
def test_hooks_see_and_change_what_is_reported(
    suite: pytest.Pytester, workers: tuple[str, ...]
) -> None:
    suite.makeconftest(
        """
        def pytest_tvmtune_machine_info(config, machine_info):
            machine_info["rack"] = 7
        def pytest_tvmtune_case_result(config, result):
            result["team"] = "vision"
            print("SEEN", result["name"], hasattr(config, "workerinput"))
        """
    )
    suite.makepyfile(
        SUITE
        + """
@pytest.mark.tvm_tune(trials=0)
def test_tiny(tvm_tune):
    tvm_tune(Tiny(), spec=SPEC).check()
"""
    )
    done = suite.runpytest_subprocess("-s", "--tvm-json=report.json", *workers)
    done.assert_outcomes(passed=1)
    done.stdout.fnmatch_lines(["*SEEN tiny False*"])
    report = json.loads((suite.path / "report.json").read_text())
    assert report["machine"]["rack"] == 7
    assert [case["team"] for case in report["cases"]] == ["vision"]


def test_tuning_tells_how_far_it_is_unless_asked_to_be_quiet(suite: pytest.Pytester) -> None:
    suite.makepyfile(
        SUITE
        + """
@pytest.mark.tvm_tune(trials=2)
def test_tiny(tvm_tune):
    run = tvm_tune(Tiny(), spec=SPEC)
    run.check()
    assert [task.state for task in run.tasks] == ["tuned", "tuned"]
"""
    )
    done = suite.runpytest_subprocess()
    done.assert_outcomes(passed=1)
    done.stderr.fnmatch_lines(["tuning tiny[[]llvm[]]: */2 trials, * us"])
    done = suite.runpytest_subprocess("-q", "--tvm-tuning=refresh")
    done.assert_outcomes(passed=1)
    assert "tuning tiny" not in done.stderr.str() + done.stdout.str()
    done.stdout.fnmatch_lines(["tuned 1 cases with 2 trials*"])
