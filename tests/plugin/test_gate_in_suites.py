"""The gate in whole suites: the same verdicts with and without workers, and whose baselines change.

Chains of equal kernels (tests/support/chains.py): what a test is named after is what becomes of it
once the environment variable CHANGED is set.
"""

from __future__ import annotations

import json
import os
from typing import Any

import pytest

from pytest_tvmtune.core.gating.confidence_sequence import item_alpha
from tests.support import ROOT

pytestmark = pytest.mark.timed

SUITE = """
import os
import pytest
from tests.support.chains import chain, chain_data

X, W = chain_data()
CHANGED = {
    "same": chain,
    "renamed": lambda: chain(naming="other"),
    "longer": lambda: chain(150),
    "shorter": lambda: chain(60),
    "added": chain,
    "damaged": lambda: chain(naming="other"),
}

@pytest.mark.tvm_tune(trials=0, threshold="20%", max_time=60)
@pytest.mark.parametrize("kind", CHANGED)
def test_chain(tvm_tune, kind):
    mod = CHANGED[kind]() if "CHANGED" in os.environ else chain()
    tvm_tune(mod, params=[W], inputs=[X]).assert_no_regression()

def test_of_nothing_of_ours():
    pass
"""
VERDICTS = {
    "same": "PASS",
    "renamed": "PASS",
    "longer": "REGRESSION",
    "shorter": "IMPROVEMENT",
    "added": "NEW",
    "damaged": "INCOMPARABLE",
}
MEASURED = {"renamed", "longer", "shorter"}


def run(suite: pytest.Pytester, *options: str) -> tuple[pytest.RunResult, dict[str, Any]]:
    """Return the outcome and the latency results by kind."""
    result = suite.runpytest_subprocess("--tvm-json=report.json", *options)
    cases = json.loads((suite.path / "report.json").read_text())["cases"]
    return result, {case["nodeid"].split("[")[1].split("-")[0]: case["latency"] for case in cases}


def baselines(suite: pytest.Pytester) -> dict[str, bytes]:
    """Return the content of every baseline's file, by kind."""
    paths = (suite.path / ".tvmtune" / "baselines").glob("*.json")
    return {path.name.split("test_chain-")[1].split("-")[0]: path.read_bytes() for path in paths}


def test_verdicts_with_and_without_workers_and_whose_baselines_change(
    suite: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One story, since each step needs what the one before accepted."""
    monkeypatch.setenv("PYTHONPATH", str(ROOT), prepend=os.pathsep)
    suite.makepyfile(test_it=SUITE)

    result, _ = run(suite, "--tvm-update", "-n", "2", "-k", "not added")
    result.assert_outcomes(passed=6)
    assert set(baselines(suite)) == set(VERDICTS) - {"added"}
    (damaged,) = (suite.path / ".tvmtune" / "baselines").glob("*damaged*.json")
    damaged.write_text("{half")
    before = baselines(suite)

    monkeypatch.setenv("CHANGED", "1")
    result, latency = run(suite, "-n", "2")
    result.assert_outcomes(passed=6, failed=1, warnings=1)
    assert {kind: one["verdict"] for kind, one in latency.items()} == VERDICTS
    assert {kind for kind, one in latency.items() if one["same_code"]} == {"same"}
    assert {kind for kind, one in latency.items() if one["epochs"]} == MEASURED
    # Every item that may gate counts, on a worker that runs half of them as well.
    for kind in MEASURED:
        assert latency[kind]["confidence"] == pytest.approx(1 - 2 * item_alpha(6), abs=1e-9)
    assert baselines(suite) == before

    # The same without workers. Without the deselected ones there are fewer to share the chance of
    # error.
    result, latency = run(suite, "--tvm-update-new", "-k", "renamed or longer")
    result.assert_outcomes(passed=1, failed=1, deselected=5)
    assert {kind: latency[kind]["verdict"] for kind in latency} == {
        "renamed": "PASS",
        "longer": "REGRESSION",
    }
    assert latency["longer"]["confidence"] == pytest.approx(1 - 2 * item_alpha(2), abs=1e-9)
    assert baselines(suite) == before

    result, latency = run(suite, "--tvm-update", "-k", "longer")
    result.assert_outcomes(passed=1, deselected=6)
    assert latency["longer"]["verdict"] == "REGRESSION"
    assert latency["longer"]["accepted"] is True
    after = baselines(suite)
    assert {kind for kind in before if after[kind] != before[kind]} == {"longer"}


GROWS = """
import os
import pytest
from tests.support.chains import chain, chain_data

X, W = chain_data()

@pytest.mark.tvm_tune(trials=0, threshold="20%", max_time=60, max_size_growth="10%",
                      accept="900%", until="2999-12-31", reason="three times <as> safe")
def test_chain(tvm_tune):
    mod = chain(150 if "CHANGED" in os.environ else 50)
    tvm_tune(mod, params=[W], inputs=[X]).assert_no_regression()
"""


def test_an_accepted_slowdown_is_shown_and_a_library_may_not_grow(
    suite: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(ROOT), prepend=os.pathsep)
    suite.makepyfile(test_it=GROWS)
    run(suite, "--tvm-update")[0].assert_outcomes(passed=1)
    monkeypatch.setenv("CHANGED", "1")
    result = suite.runpytest_subprocess(
        "--tvm-json=report.json", "--tvm-markdown=report.md", "--junitxml=report.xml"
    )
    result.assert_outcomes(failed=1)
    accepted = "a slowdown of up to 900 % is accepted until 2999-12-31: three times <as> safe"
    result.stdout.fnmatch_lines(
        [
            "*chain[[]llvm[]]: its library grew from * max_size_growth is 10 %; accept with *",
            f"*chain[[]llvm[]]: {accepted}",
        ]
    )
    (case,) = json.loads((suite.path / "report.json").read_text())["cases"]
    assert case["latency"]["verdict"] == "PASS"
    assert case["latency"]["slowdown_ratio"] > 2
    assert case["latency"]["acceptance"]["ratio"] == 9
    assert case["failure"]["kind"] == "growth"
    assert case["library_bytes"] > 1.1 * case["baseline_library_bytes"]
    assert "is accepted until 2999" in (suite.path / "report.md").read_text()
    assert "is accepted until 2999" in (suite.path / "report.xml").read_text()
