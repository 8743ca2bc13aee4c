"""What outputs can be compared with: arrays, some of them, callables, the model's references."""

from __future__ import annotations

import json

import pytest

from tests.plugin.snippets import TINY

SUITE = (
    TINY
    + """
import onnx
from onnx import TensorProto, helper

class Two(nn.Module):
    def __init__(self):
        self.fc = nn.Linear(8, 8)
    def forward(self, x):
        return self.fc(x), x + x

pytestmark = pytest.mark.tvm_tune(trials=0)

def graph():
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, (2, "n"))
    outputs = [helper.make_tensor_value_info(n, TensorProto.FLOAT, (2, "n")) for n in ("a/b", "c")]
    nodes = [helper.make_node("Relu", ["x"], ["a/b"]), helper.make_node("Exp", ["x"], ["c"])]
    return helper.make_model(
        helper.make_graph(nodes, "g", [x], outputs),
        opset_imports=[helper.make_opsetid("", 17)], ir_version=8)

def test_callable(tvm_tune):
    seen = []
    def in_place(x):
        seen.append(x.copy())
        x *= 2
        return {"output[1]": x}
    run = tvm_tune(Two(), **GIVEN)
    run.assert_allclose(in_place)
    run.check(in_place)
    assert len(seen) == 2 and all(np.array_equal(x, X) for x in seen)
    run.assert_allclose(lambda x: (EXPECTED, x + x + 1), outputs={"output[1]": {"atol": 1.1}})

def test_onnxruntime(tvm_tune, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    onnx.save(graph(), "two.onnx")
    run = tvm_tune("two.onnx", shapes={"x": (2, 3)})
    monkeypatch.chdir("/")
    run.check("onnxruntime")
    assert [one.path for one in run.result.errors[0].outputs] == ["output[0]", "output[1]"]
    (x,) = run._run.case.model.inputs
    run.assert_allclose({"a/b": np.maximum(x, 0)})
    run.assert_allclose({"c": np.exp(x) + 1}, outputs={"c": {"atol": 1, "statistic": "max"}})

def test_no_torch(tvm_tune):
    tvm_tune(graph(), shapes={"x": (2, 3)}).check("torch")

def test_no_reference(tvm_tune):
    tvm_tune(Tiny(), **GIVEN).check("onnxruntime")

def test_none_returned(tvm_tune):
    tvm_tune(Tiny(), **GIVEN).assert_allclose(lambda x: None)

def test_raises(tvm_tune):
    tvm_tune(Tiny(), **GIVEN).assert_allclose(lambda x: 1 / 0)

def test_gone(tvm_tune, tmp_path):
    path = tmp_path / "two.onnx"
    onnx.save(graph(), path)
    run = tvm_tune(path, shapes={"x": (2, 3)})
    path.unlink()
    run.assert_allclose("onnxruntime")
"""
)


def test_what_outputs_are_compared_with(suite: pytest.Pytester) -> None:
    suite.makepyfile(SUITE)
    result = suite.runpytest_subprocess("--tvm-json=report.json")
    result.assert_outcomes(passed=2, failed=5)
    result.stdout.fnmatch_lines(
        [
            (
                "no_torch[[]llvm[]]: expected='torch': this model has no such reference; it has "
                "expected='onnxruntime'. *"
            ),
            "no_reference[[]llvm[]]: expected='onnxruntime': this model has * it has none. For *",
            "none_returned[[]llvm[]]: NoneType is not an array; *",
            "E *ZeroDivisionError: division by zero",
            "gone[[]llvm[]]: */two.onnx: no such file",
        ]
    )
    cases = json.loads((suite.path / "report.json").read_text())["cases"]
    (errors,) = [c["errors"] for c in cases if c["name"] == "onnxruntime"]
    assert [one["against"] for one in errors] == ["onnxruntime", "expected", "expected"]


SHAPES = '''
import numpy as np
import onnx.parser
import pytest

# TVM ignores `output_shape` (docs/explanation/tvm-findings.md), and returns 4 rows and columns.
MODEL = onnx.parser.parse_model("""<ir_version: 8, opset_import: ["" : 17]>
g (float[1,1,2,2] x) => (float[1,1,3,3] y, float[1,1,2,2] z) <float[1,1,2,2] w = {1,1,1,1}> {
  y = ConvTranspose <strides=[2,2], output_shape=[3,3]> (x, w)
  z = Relu (x)
}""")
X = np.ones((1, 1, 2, 2), "float32")

@pytest.mark.tvm_tune(trials=0, prepack="on")
def test_shape(tvm_tune):
    tvm_tune(MODEL, inputs={"x": X}).check("onnxruntime")

@pytest.mark.tvm_tune(trials=0)
def test_own_mistake(tvm_tune):
    tvm_tune(MODEL, inputs={"x": X}).check({"y": np.ones((1, 1, 4, 4)), "zz": X})
'''


def test_another_shape_is_wrong_numbers_and_all_checks_are_made(suite: pytest.Pytester) -> None:
    suite.makepyfile(SHAPES)
    result = suite.runpytest_subprocess("--tvm-json=report.json", "-v")
    result.assert_outcomes(failed=2)
    result.stdout.fnmatch_lines(
        [
            (
                "shape[[]llvm-prepack[]]: wrong numbers against onnxruntime: y (output[[]0[]]) "
                "float32[[]1, 1, 4, 4[]]: the expected shape is float32[[]1, 1, 3, 3[]]"
            ),
            "  all builds of this model return the same shapes and types, so the fault is in the *",
            "own_mistake[[]llvm[]]: expected has 'zz', but the model's outputs are *",
            "shape[[]llvm-prepack[]]: against onnxruntime: y (output[[]0[]]) *the expected shape*",
            "shape[[]llvm-prepack[]]: against onnxruntime: z (output[[]1[]]) float32*: equal",
        ]
    )
    cases = json.loads((suite.path / "report.json").read_text())["cases"]
    mistake, shape = sorted(cases, key=lambda case: str(case["name"]))
    assert shape["failure"]["kind"] == "wrong numbers"
    assert [(one["against"], one["passed"]) for one in shape["errors"]] == [
        ("onnxruntime", False),
        ("not prepacked", True),
    ]
    output = shape["errors"][0]["outputs"][0]
    assert (output["name"], output["path"], output["problem"]) == ("y", "output[0]", "shape")
    assert (output["shape"], output["shape_expected"]) == ([1, 1, 4, 4], [1, 1, 3, 3])
    assert mistake["failure"]["kind"] == "model"
    assert (mistake["errors"], len(mistake["findings"])) == ([], 1)
    # The latency was judged all the same.
    assert [case["latency"]["verdict"] for case in cases] == ["NEW", "NEW"]
