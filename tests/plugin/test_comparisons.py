"""`run.assert_not_slower_than` and `run.compare_latency`, with each kind of variant."""

from __future__ import annotations

import json

import pytest

from tests.plugin.snippets import TINY

SUITE = (
    TINY
    + """
from pathlib import Path

class Chain(nn.Module):
    '''Two entries in one library, of which one does four times as much.'''
    def __init__(self):
        self.layer = nn.Linear(128, 128, bias=False)
    def run(self, x, layers):
        for _ in range(layers):
            x = nn.relu(self.layer(x))
        return x
    def short(self, x):
        return self.run(x, 2)
    def long(self, x):
        return self.run(x, 8)

X128 = {"x": nn.spec.Tensor((64, 128), "float32")}
WIDE = dict(spec={"short": X128, "long": X128})
pytestmark = pytest.mark.tvm_tune(trials=0, num_threads=1)

def relu_graph():
    import onnx
    from onnx import TensorProto, helper
    values = [helper.make_tensor_value_info(n, TensorProto.FLOAT, (64, 64)) for n in ("x", "y")]
    graph = helper.make_graph([helper.make_node("Relu", ["x"], ["y"])], "g", values[:1], values[1:])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)

def test_same_code(tvm_tune):
    run = tvm_tune(Tiny(), **GIVEN)
    run.assert_not_slower_than("untuned")
    for other in (run, run.artifact.library, str(run.artifact.library)):
        found = run.compare_latency(other)
        assert (found.verdict, found.ratio, found.interval) == ("PASS", 1.0, None)
        assert found.latency.same_code

def test_longer(tvm_tune):
    short = tvm_tune(Chain(), name="short", entry="short", **WIDE)
    long = tvm_tune(Chain(), name="long", entry="long", **WIDE)
    assert short.artifact.sha256 == long.artifact.sha256
    long.assert_not_slower_than(short, threshold="50%")

@pytest.mark.tvm_tune(prepack=True)
def test_prepacked(tvm_tune):
    run = tvm_tune(Chain(), entry="short", **WIDE)
    found = run.compare_latency("not prepacked", threshold="1000%")
    assert found.verdict == "PASS", found

def test_onnxruntime(tvm_tune):
    found = tvm_tune(relu_graph()).compare_latency("onnxruntime", threshold="1000%")
    assert found.compared_with.startswith("onnxruntime 1."), found
    assert found.latency.epochs and found.interval, found
    assert (found.verdict == "IMPROVEMENT") == (found.interval[1] < 1 / 11)

@pytest.mark.slow
def test_torch(tvm_tune):
    import torch
    module = torch.nn.Sequential(torch.nn.Linear(64, 64), torch.nn.ReLU())
    found = tvm_tune(module, inputs=(torch.randn(8, 64),)).compare_latency("torch")
    assert found.compared_with.startswith("torch ") and found.interval, found

@pytest.mark.parametrize("other, threshold", [
    ("not prepacked", None), (None, None), ("onnxruntime", None), ("absent.so", None),
    ("untuned", "3"),
])
def test_refused(tvm_tune, other, threshold):
    tvm_tune(Tiny(), **GIVEN).assert_not_slower_than(other, threshold=threshold)

def test_other_inputs(tvm_tune):
    run = tvm_tune(Tiny(), **GIVEN)
    run.assert_not_slower_than(tvm_tune(Chain(), name="chain", entry="short", **WIDE))

def test_broken_library(tvm_tune, tmp_path):
    path = tmp_path / "broken.so"
    path.write_bytes(b"no library")
    tvm_tune(Tiny(), **GIVEN).compare_latency(path)
"""
)
REFUSED = {
    "not prepacked-None": "this run is not prepacked itself; compare it with 'prepacked'",
    "onnxruntime-None": (
        "'onnxruntime' is nothing that this model can be compared with; give 'untuned', "
        "'prepacked', the path of a library (.so), or another Run of the test"
    ),
    "None-None": "None is nothing that this model can be compared with; give 'untuned'",
    "absent.so-None": "absent.so",
    "untuned-3": "threshold: '3' is not a positive percentage",
}


def test_comparisons_with_variants(suite: pytest.Pytester) -> None:
    suite.makepyfile(SUITE)
    result = suite.runpytest_subprocess(
        "--tvm-json=report.json", "-m", "not slow", "-o", "markers=slow: not in the gate"
    )
    result.assert_outcomes(passed=3, failed=8)
    cases = json.loads((suite.path / "report.json").read_text())["cases"]
    findings = {case["nodeid"].partition("::")[2]: case["findings"] for case in cases}
    for refused, words in REFUSED.items():
        assert words in findings[f"test_refused[{refused}-llvm]"][0]
    assert "chain[llvm] has other inputs (x: float32[64, 128])" in str(findings)
    assert "broken.so" in findings["test_broken_library[llvm]"][0]

    long = next(case for case in cases if case["name"] == "long")
    (comparison,) = long["latency_comparisons"]
    assert comparison["compared_with"] == "short[llvm]"
    assert comparison["latency"]["verdict"] == "REGRESSION"
    assert long["failure"]["kind"] == "regression"
    assert long["findings"][0].startswith("long[llvm]: slower than short[llvm]: ")
    assert comparison["latency"]["limit_ratio"] == 1.5
    result.stdout.fnmatch_lines(["long?llvm? next to short?llvm?: REGRESSION, *x slower *"])


@pytest.mark.slow
def test_comparison_with_torch(suite: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    suite.makepyfile(SUITE)
    # The tests' own path keeps torch from the processes that they start.
    monkeypatch.delenv("PYTHONPATH", raising=False)
    suite.runpytest_subprocess("-m", "slow").assert_outcomes(passed=1, deselected=11)
