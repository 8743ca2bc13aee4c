"""Golden outputs: written when accepted, compared ever after, clear when they can't be used."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.plugin.snippets import TINY

SUITE = (
    TINY
    + """
@pytest.mark.tvm_tune(trials=0, prepack="both")
def test_tiny(tvm_tune):
    run = tvm_tune(Tiny(), **GIVEN)
    assert np.allclose(run.outputs, EXPECTED, atol=1e-5)
    run.assert_matches_golden()
"""
)
FAILS_LATER = """

@pytest.mark.tvm_tune(trials=0)
def test_fails(tvm_tune):
    tvm_tune(Tiny(), **GIVEN).assert_matches_golden()
    assert False

@pytest.mark.tvm_tune(trials=0)
def test_wrong(tvm_tune):
    run = tvm_tune(Tiny(), **GIVEN)
    run.assert_matches_golden()
    run.assert_allclose(EXPECTED + 1)
"""
RELU = SUITE.replace("self.fc(x)", "nn.op.relu(self.fc(x))").replace(
    "EXPECTED = X @ W.T + B", "EXPECTED = np.maximum(X @ W.T + B, 0)"
)


def run(suite: pytest.Pytester, *options: str) -> tuple[pytest.RunResult, list[dict[str, Any]]]:
    result = suite.runpytest_subprocess("--tvm-json=report.json", *options)
    return result, json.loads((suite.path / "report.json").read_text())["cases"]


def goldens(suite: pytest.Pytester) -> list[Path]:
    return sorted(path for path in suite.path.rglob("tvmtune_golden/*"))


def test_the_life_of_golden_outputs(suite: pytest.Pytester) -> None:
    folder = suite.mkdir("sub")
    test_file = folder / "test_it.py"
    test_file.write_text(SUITE)

    result, cases = run(suite, "--tvm-strict")
    result.assert_outcomes(failed=2)
    result.stdout.fnmatch_lines(
        ["tiny[[]llvm[]]: no golden outputs yet; write them with --tvm-update-new, review *"]
    )
    assert goldens(suite) == []

    # Both items make the same file, in processes of their own; what fails writes none.
    test_file.write_text(SUITE + FAILS_LATER)
    result, cases = run(suite, "--tvm-update-new", "-n", "2")
    result.assert_outcomes(passed=2, failed=2)
    (golden,) = goldens(suite)
    assert golden.parent == folder / "tvmtune_golden"
    assert golden.name.startswith("test_it-test_tiny-tiny-")
    shown = golden.relative_to(suite.path).as_posix()
    result.stdout.fnmatch_lines(
        ["2 cases without golden*", f"wrote golden outputs: review and commit {shown}"]
    )
    states = {case["nodeid"].partition("::")[2]: case["golden"]["state"] for case in cases}
    assert sorted(states.values()) == ["matched", "new", "new", "written"]
    first = golden.read_bytes()
    assert np.load(golden, allow_pickle=False)["output"].shape == (2, 8)

    # The model computes something else: refused, then accepted, once for both items.
    test_file.write_text(RELU)
    result, cases = run(suite, "--tvm-update-new")
    result.assert_outcomes(failed=2)
    result.stdout.fnmatch_lines(
        [
            "tiny[[]llvm[]]: wrong numbers against golden: output float32[[]2, 8[]]: * of 16 *",
            "  max abs error *",
            "  accept with --tvm-update",
        ]
    )
    assert golden.read_bytes() == first
    result, cases = run(suite, "--tvm-update")
    result.assert_outcomes(passed=2)
    # In the report llvm-prepack stands before llvm, which ran first.
    assert [case["golden"]["state"] for case in cases] == ["matched", "written"]
    second = golden.read_bytes()
    assert second != first

    # Other numbers go in: that is no wrong answer.
    test_file.write_text(RELU.replace("default_rng(0)", "default_rng(1)"))
    result, cases = run(suite)
    result.assert_outcomes(failed=2)
    result.stdout.fnmatch_lines(
        ["tiny[[]llvm[]]: *.npz was made with other inputs or parameters; *--tvm-update"]
    )
    assert [case["golden"]["state"] for case in cases] == ["unusable", "unusable"]

    # Damaged, and written anew; where nothing changed an update leaves it alone.
    test_file.write_text(RELU)
    golden.write_bytes(second[:-30])
    result, _ = run(suite)
    result.assert_outcomes(failed=2)
    result.stdout.fnmatch_lines(["tiny[[]llvm[]]: *.npz can't be read as golden outputs (*"])
    result, _ = run(suite, "--tvm-update")
    result.assert_outcomes(passed=2)
    assert golden.read_bytes() == second
    written_ns = golden.stat().st_mtime_ns
    result, cases = run(suite, "--tvm-update", "--tvm-strict", "-v")
    result.assert_outcomes(passed=2)
    assert golden.stat().st_mtime_ns == written_ns
    result.stdout.fnmatch_lines(["tiny[[]llvm[]]: against golden: output float32[[]2, 8[]]: *"])


def test_items_that_disagree_on_one_file_fail(suite: pytest.Pytester) -> None:
    """What an item of this run wrote is not written over by the next one."""
    suite.makepyfile(
        TINY.replace("self.fc(x)", "self.fc(x) + PREPACKED")
        + """
import ml_dtypes

class Narrow(nn.Module):
    def __init__(self):
        self.fc = nn.Linear(8, 4, dtype="bfloat16")
    def forward(self, x):
        return self.fc(x)

NARROW = {"forward": {"x": nn.spec.Tensor((2, 8), "bfloat16")}}

PREPACKED = 0.0

@pytest.mark.tvm_tune(trials=0, prepack="both")
def test_tiny(tvm_tune, request):
    global PREPACKED
    PREPACKED = float("prepack" in request.node.name)
    tvm_tune(Tiny(), **GIVEN).assert_matches_golden()

@pytest.mark.tvm_tune(trials=0, prepack="both")
def test_narrow(tvm_tune):
    x = X.astype("bfloat16")
    x[0, 0] = np.nan
    run = tvm_tune(Narrow(), spec=NARROW, inputs=[x])
    run.assert_matches_golden()
    if run.result.golden.state == "matched":
        with pytest.raises(pytest.fail.Exception, match="rtol=-1 is not a finite number"):
            run.assert_matches_golden(rtol=-1)
"""
    )
    result, _ = run(suite, "--tvm-update")
    result.assert_outcomes(passed=3, failed=1)
    result.stdout.fnmatch_lines(
        [
            "tiny[[]llvm-prepack[]]: wrong numbers against golden: *16 of 16 values differ*",
            "  another test item of this run wrote these golden outputs",
        ]
    )
    result, _ = run(suite, "-k", "narrow", "--tvm-strict")
    result.assert_outcomes(passed=2, deselected=2)
