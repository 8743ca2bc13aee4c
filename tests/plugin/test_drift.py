"""Anchors in a suite: accepted, drifted from, made of baselines, and carried to another store."""

from __future__ import annotations

import json
from typing import Any

import pytest

from pytest_tvmtune.cli import main
from pytest_tvmtune.core.gating.confidence_sequence import item_alpha
from tests.plugin.snippets import TINY

SUITE = (
    TINY
    + """
import os

class Chain(nn.Module):
    def __init__(self):
        self.layer = nn.Linear(128, 128, bias=False)
    def forward(self, x):
        for _ in range(int(os.environ.get("LAYERS", "4"))):
            x = nn.relu(self.layer(x))
        return x

@pytest.mark.tvm_tune(trials=0, num_threads=1, threshold="400%")
def test_chain(tvm_tune):
    run = tvm_tune(Chain(), spec={"forward": {"x": nn.spec.Tensor((64, 128), "float32")}})
    run.assert_no_regression()
"""
)


def chain(suite: pytest.Pytester, *options: str) -> tuple[pytest.RunResult, dict[str, Any]]:
    result = suite.runpytest_subprocess("--tvm-json=report.json", *options)
    (case,) = json.loads((suite.path / "report.json").read_text())["cases"]
    return result, case


def test_what_is_slower_than_the_anchor_fails(
    suite: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    suite.makepyfile(SUITE)
    result, case = chain(suite, "--tvm-update-anchor")
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(["*NEW, accepted, anchored", "*accepted 1 baseline and 1 anchor"])
    # There was no baseline: what is good for the anchor is one.
    assert case["latency"]["accepted"]
    assert case["latency_comparisons"] == []
    store = suite.path / ".tvmtune"
    for folder in ("anchors", "baselines"):
        assert [path.name for path in (store / folder).glob("*.json")] == [case["baseline"]]

    monkeypatch.setenv("LAYERS", "8")
    # Twice as slow passes at 400 %, and is accepted; the anchor's limit isn't reached either.
    result, case = chain(suite, "--tvm-update", "--tvm-max-drift=400%")
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(["*chain*next to the anchor: PASS, *limit 5.0x*"])
    (drift,) = case["latency_comparisons"]
    assert (drift["compared_with"], drift["latency"]["verdict"]) == ("the anchor", "PASS")
    assert drift["notes"][0].startswith("the anchor was accepted at 20")

    # The baseline is this code by now, but the anchor isn't. An update doesn't accept drift.
    result, case = chain(suite, "--tvm-update")
    result.assert_outcomes(failed=1)
    assert case["latency"]["same_code"]
    assert not case["latency"]["accepted"]
    assert case["failure"]["kind"] == "drift"
    result.stdout.fnmatch_lines(
        ["chain*: drift from the anchor: *x slower (*), limit 1.10x", "*--tvm-update-anchor"]
    )

    assert main(["baselines", "anchor", f"--dir={store}"]) == 0
    result, case = chain(suite)
    result.assert_outcomes(passed=1)
    assert case["latency_comparisons"][0]["latency"]["same_code"]


def test_all_calls_of_a_test_share_its_chance_of_error(
    suite: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    two = SUITE.replace(
        "    run = tvm_tune(Chain(), ",
        "    for name in ('one', 'two'):\n        run = tvm_tune(Chain(), name=name, ",
    )
    suite.makepyfile(two.replace("    run.assert", "        run.assert"))
    suite.runpytest_subprocess("--tvm-update-new").assert_outcomes(passed=1)
    monkeypatch.setenv("LAYERS", "6")
    suite.runpytest_subprocess("--tvm-json=report.json").assert_outcomes(passed=1)
    cases = json.loads((suite.path / "report.json").read_text())["cases"]
    assert [case["latency"]["confidence"] for case in cases] == [
        pytest.approx(1 - 2 * item_alpha(1, before), abs=1e-9) for before in (0, 1)
    ]


def test_a_bad_limit_is_refused(suite: pytest.Pytester) -> None:
    suite.makepyfile(SUITE)
    result = suite.runpytest_subprocess("--tvm-max-drift=much")
    result.stderr.fnmatch_lines(["*--tvm-max-drift: 'much' is not a positive percentage*"])
