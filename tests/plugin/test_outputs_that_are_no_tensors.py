"""Shapes and numbers among the outputs are compared; what has no numbers is refused by name."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

SUITE = """
import numpy as np
import onnx.parser
import pytest
from tvm.script import ir as I, relax as R, tirx as T

X = np.ones((2, 3), "float32")
W = np.full((3, 3), 2, "float32")

@I.ir_module
class Several:
    @R.function
    def main(x: R.Tensor((2, 3), "float32"), w: R.Tensor((3, 3), "float32")):
        R.func_attr({"num_input": 1})
        with R.dataflow():
            y = R.matmul(x, R.permute_dims(w))
            R.output(y)
        return (y, R.shape_of(w), (R.prim_value(3), (R.prim_value(T.float32(2.5)),)))

WANTED = (X @ W.T, np.array([3, 3]), (3, (2.5,)))

@I.ir_module
class OnlyShape:
    @R.function
    def main(x: R.Tensor((2, 3), "float32")):
        R.func_attr({"num_input": 1})
        return R.shape_of(x)

@I.ir_module
class Null:
    @R.function
    def main(x: R.Tensor((2, 3), "float32")):
        return (x, (R.null_value(),))

@I.ir_module
class Text:
    @R.function
    def main(x: R.Tensor((2, 3), "float32")):
        return R.str("text")

@I.ir_module
class TakesShape:
    @R.function
    def main(x: R.Tensor((2, 3), "float32"), s: R.Shape((2, 3))):
        return x

@I.ir_module
class TakesNumber:
    @R.function
    def main(x: R.Tensor((2, 3), "float32"), n: T.int64):
        return x

@I.ir_module
class TakesTuple:
    @R.function
    def main(x: R.Tuple(R.Tensor((2, 3), "float32"))):
        return x[0]

@pytest.mark.tvm_tune(prepack="both")
def test_several(tvm_tune):
    run = tvm_tune(Several, inputs=[X], params=[W])
    assert [one.dtype.name for one in (run.outputs[1], run.outputs[2][0])] == ["int64", "int64"]
    run.check(WANTED)
    run.assert_matches_golden()

@pytest.mark.tvm_tune
def test_wrong_shape(tvm_tune):
    tvm_tune(Several, inputs=[X], params=[W]).check((WANTED[0], (3, 4), WANTED[2]))

@pytest.mark.tvm_tune(prepack="both")
def test_only_shape(tvm_tune):
    tvm_tune(OnlyShape, inputs=[X]).check((2, 3))

@pytest.mark.tvm_tune
def test_onnx(tvm_tune):
    graph = "g (float[2,3] x) => (float[2,3] y, int64[2] s) { y = Relu (x)  s = Shape (x) }"
    model = onnx.parser.parse_model('<ir_version: 8, opset_import: ["": 17]>' + graph)
    tvm_tune(model, inputs=[X]).check("onnxruntime")

@pytest.mark.tvm_tune
@pytest.mark.parametrize("model", [Null, Text, TakesShape, TakesNumber, TakesTuple])
def test_refused(tvm_tune, model):
    tvm_tune(model, inputs=[X])
"""

REFUSED = {
    "Null": "output[1][0] is null, but only tensors, shapes, and numbers can be compared",
    "Text": "output is a string, but only tensors, shapes, and numbers can be compared",
    "TakesShape": "main: parameter 's' is R.Shape([2, 3]), but an entry takes only tensors",
    "TakesNumber": "main: parameter 'n' is int64, but an entry takes only tensors",
    "TakesTuple": "main: parameter 'x' is T.Tuple(R.Tensor((T.int64(2), T.int64(3)), dtype=",
}


def test_compared_or_refused(suite: pytest.Pytester) -> None:
    suite.makepyfile(SUITE)
    result = suite.runpytest_subprocess("--tvm-trials=0", "--tvm-json=r.json", "--tvm-update-new")
    result.assert_outcomes(passed=5, failed=1 + len(REFUSED))
    cases = json.loads(Path("r.json").read_text())["cases"]
    findings = {case["nodeid"]: case["findings"][0] for case in cases if case["findings"]}
    wrong = next(nodeid for nodeid in findings if "wrong_shape" in nodeid)
    assert "output[1] int64[2]: 1 of 2 values differs" in findings.pop(wrong)
    assert len(findings) == len(REFUSED)
    for name, said in REFUSED.items():
        assert any(f"[{name}-" in nodeid and said in findings[nodeid] for nodeid in findings), said
    # The same again: outputs against the golden file, latency against the baseline.
    result = suite.runpytest_subprocess("--tvm-trials=0", "-k", "several or only_shape")
    result.assert_outcomes(passed=4)
    result.stdout.no_fnmatch_line("*NEW*")
