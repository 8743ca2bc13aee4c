"""Hooks that a conftest implements, and what is shown while a model is tuned."""

from __future__ import annotations

import json

import pytest

from pytest_tvmtune.store.layout import Store
from pytest_tvmtune.store.run_history import read_report
from tests.plugin.snippets import TINY
from tests.plugin.terminals import run_on_a_terminal


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
        TINY
        + """
@pytest.mark.tvm_tune(trials=0)
def test_tiny(tvm_tune):
    tvm_tune(Tiny(), **GIVEN).check()
"""
    )
    store = Store(root=suite.path / ".tvmtune")
    store.root.mkdir()
    store.runs.write_text("no history")
    done = suite.runpytest_subprocess("-sv", "--tvm-json=report.json", *workers)
    done.assert_outcomes(passed=1)
    done.stdout.fnmatch_lines(["*SEEN tiny False*"])
    # What is reported is kept, too, after what could not be read was put aside.
    done.stdout.fnmatch_lines(
        ["runs.sqlite is damaged (*", "stored as run 1 (see `tvmtune history`)"]
    )
    report = json.loads((suite.path / "report.json").read_text())
    assert report["machine"]["rack"] == 7
    assert [case["team"] for case in report["cases"]] == ["vision"]
    assert read_report(store, 1) == report


def test_tuning_tells_how_far_it_is_unless_asked_to_be_quiet(suite: pytest.Pytester) -> None:
    suite.makepyfile(
        TINY
        + """
@pytest.mark.tvm_tune(trials=2)
def test_tiny(tvm_tune):
    run = tvm_tune(Tiny(), **GIVEN)
    run.check()
    assert [task.is_settled for task in run.tasks] == [True, True]
"""
    )
    done = suite.runpytest_subprocess()
    done.assert_outcomes(passed=1)
    done.stderr.fnmatch_lines(["tuning tiny[[]llvm[]]: */2 trials, *s, about * s left"])
    done = suite.runpytest_subprocess("-q", "--tvm-tuning=refresh")
    done.assert_outcomes(passed=1)
    assert "tuning tiny" not in done.stderr.str() + done.stdout.str()
    done.stdout.fnmatch_lines(["*; tuned 1 case (2 trials, * s), *"])


def test_a_terminal_shows_one_line_that_moves(suite: pytest.Pytester) -> None:
    suite.makepyfile(
        TINY
        + """
@pytest.mark.tvm_tune(trials=2)
def test_tiny(tvm_tune):
    tvm_tune(Tiny(), name="modèle", **GIVEN).check()
"""
    )
    shown = run_on_a_terminal(suite)
    assert shown.isascii()
    assert "\x1b[3" not in shown  # what colours begin with
    states = shown.split("\r")
    bars = [state for state in states if state.startswith("tuning mod\\xe8le[llvm]:")]
    assert "0/2" in bars[0]
    assert any("/2 [" in bar and " us]" in bar for bar in bars)
    # It is gone when tuning is over: the summary stands on lines of its own.
    assert any(state.strip().startswith("1 case, 0 failed: 1 NEW") for state in states)
