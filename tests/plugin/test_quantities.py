"""Quantities other than the latency, in a suite: what is measured on request, and every report."""

from __future__ import annotations

import json
import os
import sys
from typing import Any

import pytest

from tests.support import ROOT

SUITE = """
import pytest
from tests.support.chains import chain, chain_data

X, W = chain_data()

@pytest.mark.tvm_tune(trials=0, max_time=1)
def test_chain(tvm_tune):
    tvm_tune(chain(3), params=[W], inputs=[X]).assert_no_regression()
"""
REPORTS = ("--tvm-json=it.json", "--tvm-html=it.html", "--tvm-markdown=it.md", "--junitxml=it.xml")


@pytest.fixture
def chains(suite: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> pytest.Pytester:
    monkeypatch.setenv("PYTHONPATH", str(ROOT), prepend=os.pathsep)
    suite.makepyfile(test_it=SUITE)
    return suite


def case_of(suite: pytest.Pytester) -> dict[str, Any]:
    (case,) = json.loads((suite.path / "it.json").read_text())["cases"]
    return dict(case)


def test_the_roofline_and_the_memory_are_measured_on_request(chains: pytest.Pytester) -> None:
    chains.runpytest_subprocess(*REPORTS).assert_outcomes(passed=1)
    plain = case_of(chains)
    assert (plain["kernels"], plain["peak_memory_bytes"]) == (None, None)
    assert plain["kernel_calls"] == 3
    assert plain["library_compile_s"] > 0
    assert not (chains.path / ".tvmtune/peaks.json").exists()

    result = chains.runpytest_subprocess("-v", "--tvm-roofline", "--tvm-peak-memory", *REPORTS)
    result.assert_outcomes(passed=1)
    asked = case_of(chains)
    # The library is the one of the first run.
    assert asked["library_compile_s"] == plain["library_compile_s"]
    assert asked["compile_s"] == 0
    rows = {row["name"]: row for row in asked["kernels"]["rows"]}
    assert rows["kernel"]["flop"] > 0
    assert rows["kernel"]["bound"]
    assert asked["kernels"]["peak"]["flop_per_s"] > 0
    assert (asked["peak_memory_bytes"] is not None) == (sys.platform == "linux")
    result.stdout.fnmatch_lines(
        [
            "*: library *, workspace memory *, number of kernels 3, *, time to compile *",
            "*kernel * calls * GFLOP/s * of peak *",
            "*measured peak with * memory * GB/s; the kernels reach * of the peak",
        ]
    )
    assert "GFLOP/s of each kernel" in (chains.path / "it.html").read_text()
    assert "| `kernel` |" in (chains.path / "it.md").read_text()
    assert 'name="tvmtune.roof_share"' in (chains.path / "it.xml").read_text()
