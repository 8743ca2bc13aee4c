"""What a test can ask of the Run that `tvm_tune` returns."""

from __future__ import annotations

import pytest

from tests.plugin.snippets import TINY


def test_everything_it_offers(suite: pytest.Pytester) -> None:
    suite.makepyfile(
        TINY
        + """
import tvm

@pytest.mark.tvm_tune(trials=0, prepack="on", num_threads=2)
def test_tiny(tvm_tune, tvm_target):
    run = tvm_tune(Tiny(), **GIVEN, name="any name")
    assert np.allclose(run.outputs, EXPECTED, atol=1e-5)
    assert isinstance(run.mod, tvm.IRModule) and "forward" in str(run.mod)
    assert str(run.target) == str(tvm_target)
    assert [task.state for task in run.tasks] == ["untuned", "untuned"]
    params = [tvm.runtime.tensor(B), tvm.runtime.tensor(np.ascontiguousarray(W.T))]
    again = run.vm["forward"](tvm.runtime.tensor(X), *params)
    assert np.array_equal(again.numpy(), run.outputs)
    assert run.artifact.library.is_file()
    assert run.artifact.manifest.entries["forward"].transforms
    assert run.samples == []
    run.assert_no_regression()
    assert len(run.samples) >= 1 and all(0 < s < 1 for s in run.samples)
    assert run.result.transform_s > 0
    assert run.result.transform_extra_bytes == W.nbytes
    run.assert_allclose()
    run.assert_allclose(EXPECTED + 1e-3, atol=1e-2)
    run.assert_prepack_equivalent()
    table = run.kernels(budget_s=0.01)
    assert sum(row.calls for row in table.rows if row.name.startswith("fused_")) == 1
    assert all(row.now_s >= 0 and row.baseline_s is None for row in table.rows)
    assert table.end_to_end_s > 0 and run.result.kernels == table
    with pytest.raises(pytest.fail.Exception, match="wrong numbers against expected"):
        run.assert_allclose(EXPECTED + 1e-3)

def test_unmarked(tvm_tune):
    tvm_tune(Tiny(), **GIVEN).check()
"""
    )
    result = suite.runpytest_subprocess("--tvm-trials=0", "-v")
    result.assert_outcomes(passed=2)
    result.stdout.fnmatch_lines(["transformed the parameters of 1 prepacked case in *"])


def test_tasks_that_stay_untuned_are_told(suite: pytest.Pytester) -> None:
    """One trial for two tasks: the cheaper one is left out, and the report names it."""
    suite.makepyfile(
        TINY
        + """
@pytest.mark.tvm_tune(trials=1)
def test_tiny(tvm_tune):
    tvm_tune(Tiny(), **GIVEN).check()
"""
    )
    message = (
        "tiny[[]llvm[]]: 1 of 2 tasks is untuned, although 1 trial was requested: fused_matmul_add"
    )
    result = suite.runpytest_subprocess("--tvm-update-new")
    result.assert_outcomes(passed=1, warnings=1)
    result.stdout.fnmatch_lines([f"*{message}*", "1 task got no trial: raise --tvm-trials"])
    strict = suite.runpytest_subprocess("--tvm-strict")
    strict.assert_outcomes(failed=1)
    strict.stdout.fnmatch_lines([message])
