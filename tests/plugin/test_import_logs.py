"""What fails before there is a case to compile keeps its cause, its node, and a log."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

SUITE = """
import numpy as np
import onnx.parser
import pytest
from tvm import relax
from tvm.script import ir as I, relax as R

pytestmark = pytest.mark.tvm_tune(trials=0)

def model(text):
    head = '<ir_version: 8, opset_import: ["" : 17]>'
    return onnx.parser.parse_model(head + text)

def test_importer(tvm_tune):
    body = "y = LayerNormalization (x, s)"
    tvm_tune(model("g (float[2,3,4] x, float[1] s) => (float[2,3,4] y) { " + body + " }"))

def test_defect(tvm_tune, monkeypatch):
    from pytest_tvmtune.relax.importing.onnx import reading
    # A fault in this package's own code, and not where it calls TVM.
    monkeypatch.setattr(reading, "_WEIGHT_SIZE", None)
    tvm_tune(model("g (float[2] x) => (float[2] y) <int64[1] a = {0}> { y = ReduceSum (x, a) }"))

@I.ir_module
class Relu:
    @R.function
    def main(x: R.Tensor((2,), "float32")) -> R.Tensor((2,), "float32"):
        return R.nn.relu(x)

def test_pipeline(tvm_tune):
    def fails(mod):
        raise RuntimeError("first" + "x" * 500 + "the cause")
    tvm_tune(Relu, pipeline=fails)

def test_reference(tvm_tune):
    gather = "g (float[2] x, int64[1] i) => (float[1] y) { y = Gather (x, i) }"
    run = tvm_tune(model(gather), inputs=[np.ones(2, "float32"), np.array([1])])
    run._run.case.model.inputs[1][0] = 7
    run.check("onnxruntime")

def test_good(tvm_tune):
    tvm_tune(Relu).check()
"""

WANTED = {
    "importer": (
        "import",
        (
            "TVM's ONNX importer failed at LayerNormalization (the node with output 'y'): "
            "ValueError: relax.nn.layer_norm requires the input gamma, beta, etc., to have size "
            "same as the "
            "lengths of the data on the given axes. However, there exists (4,) and (1,) that are"
        ),
        "Error converting operator LayerNormalization, with inputs: [x, s]",
    ),
    "defect": ("import", "this is a fault of pytest-tvmtune, not", "in _sort_constants"),
    "pipeline": ("pipeline", "xxthe cause", "in fails"),
    "reference": ("reference", "Gather node: indices element out of data bounds, idx=7", "run"),
}


def test_message_log_and_report(suite: pytest.Pytester) -> None:
    suite.makepyfile(SUITE)
    result = suite.runpytest_subprocess("--tvm-json=r.json")
    result.assert_outcomes(passed=1, failed=len(WANTED))
    cases = {case["name"]: case for case in json.loads(Path("r.json").read_text())["cases"]}
    for name, (stage, said, logged) in WANTED.items():
        (finding,) = cases[name]["findings"]
        assert said in finding, finding
        path = Path(cases[name]["logs"][stage])
        assert finding.endswith(f"\nlog: {path}")
        assert re.fullmatch(rf"{name}-llvm-[0-9a-f]{{6}}-{stage}\.log", path.name)
        assert logged in path.read_text()
    assert cases["importer"]["failure"]["kind"] == "import"
    assert cases["defect"]["failure"]["kind"] == "error"
    assert "BlockBuilder" not in result.stderr.str()
