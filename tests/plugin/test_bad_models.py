"""Models, inputs and parameters that are wrong: each is one failed test, all others go on."""

from __future__ import annotations

import pytest

from tests.plugin.snippets import TINY, WORKER_IDS, WORKERS

SUITE = (
    TINY
    + """
import onnx
from onnx import TensorProto, helper
from pathlib import Path
from tvm import relax
from tvm.ir import IRModule
from tvm.script import ir as I, relax as R

pytestmark = pytest.mark.tvm_tune(trials=0)

def graph(op="Relu", shape=(2, 3), **attributes):
    x, y = (helper.make_tensor_value_info(n, TensorProto.FLOAT, shape) for n in "xy")
    node = helper.make_node(op, ["x"], ["y"], name="the_node", **attributes)
    return helper.make_model(
        helper.make_graph([node], "g", [x], [y]),
        opset_imports=[helper.make_opsetid("", 17)], ir_version=8)

@I.ir_module
class Two:
    @R.function
    def one(x: R.Tensor((2,), "float32")) -> R.Tensor((2,), "float32"):
        return R.nn.relu(x)
    @R.function
    def two(x: R.Tensor((2,), "float32")) -> R.Tensor((2,), "float32"):
        return R.nn.relu(x)

@I.ir_module
class Dynamic:
    @R.function
    def main(x: R.Tensor(("n", 2), "float32")) -> R.Tensor(("n", 2), "float32"):
        return R.nn.relu(x)

def test_good_before(tvm_tune):
    tvm_tune(Tiny(), **GIVEN).check(EXPECTED)

def test_onnx_empty(tvm_tune, tmp_path):
    (tmp_path / "empty.onnx").touch()
    tvm_tune(tmp_path / "empty.onnx")

def test_onnx_truncated(tvm_tune, tmp_path):
    content = graph().SerializeToString()
    (tmp_path / "cut.onnx").write_bytes(content[:len(content) // 2])
    tvm_tune(tmp_path / "cut.onnx")

def test_onnx_missing(tvm_tune):
    tvm_tune("nowhere.onnx")

def test_onnx_no_rank(tvm_tune):
    tvm_tune(graph(shape=None))

def test_onnx_operator(tvm_tune):
    tvm_tune(graph("RandomNormalLike"))

def test_input_name(tvm_tune):
    tvm_tune(Tiny(), **{**GIVEN, "inputs": {"z": X}})

def test_input_shape(tvm_tune):
    tvm_tune(Tiny(), **{**GIVEN, "inputs": [X[:1]]})

def test_input_dtype(tvm_tune):
    tvm_tune(Tiny(), **{**GIVEN, "inputs": [X.astype("float64")]})

def test_param_missing(tvm_tune):
    tvm_tune(Tiny(), **{**GIVEN, "params": {"fc.weight": W}})

def test_param_surplus(tvm_tune):
    tvm_tune(Tiny(), **{**GIVEN, "params": [W, B, B]})

class Wide(nn.Module):
    def __init__(self):
        self.fc = nn.Linear(8, 4, bias=False)
    def forward(self, x):
        return self.fc(x)

def test_param_transposed(tvm_tune):
    tvm_tune(Wide(), spec=SPEC, params=[np.zeros((8, 4), "float32")])

def test_ill_typed(tvm_tune):
    var = relax.Var("x", relax.TensorType((2, 2), "float32"))
    stray = relax.Var("stray", relax.TensorType((2, 2), "float32"))
    body = relax.SeqExpr([], stray)
    function = relax.Function([var], body, relax.TensorType((2, 2), "float32"))
    tvm_tune(IRModule({"main": function.with_attr("global_symbol", "main")}))

@pytest.mark.tvm_tune(dims={"m": 2})
def test_no_such_dimension(tvm_tune):
    tvm_tune(Dynamic)

def test_no_model(tvm_tune):
    tvm_tune(42)

def test_no_spec(tvm_tune):
    tvm_tune(Tiny())

def test_which_entry(tvm_tune):
    tvm_tune(Two)

def test_unknown_entry(tvm_tune):
    tvm_tune(Two, entry="three")

def test_second_call(tvm_tune):
    tvm_tune(Tiny(), **GIVEN).check()
    tvm_tune(Tiny(), **GIVEN)

def test_wrong_structure(tvm_tune):
    tvm_tune(Tiny(), **GIVEN).check((EXPECTED, EXPECTED))

def test_good_after(tvm_tune):
    tvm_tune(Tiny(), **GIVEN).check(EXPECTED)
    tvm_tune(Two, entry="two", name="two").check()
"""
)

MESSAGES = [
    "onnx_empty[llvm]: *empty.onnx: not an ONNX model: the file is empty",
    "onnx_truncated[llvm]: *cut.onnx: not an ONNX model, or truncated *",
    "onnx_missing[llvm]: nowhere.onnx: no such file",
    "onnx_no_rank[llvm]: *input 'x' has no rank; give its static shape",
    "onnx_operator[llvm]: *unsupported operator RandomNormalLike (node 'the_node', 1 in all)*",
    "input_name[llvm]: unknown input 'z'; the model takes x: float32[2, 8]",
    "input_shape[llvm]: input 'x' has shape (1, 8), but the model takes (2, 8)",
    "input_dtype[llvm]: input 'x' has dtype float64, but the model takes float32; convert it *",
    "param_missing[llvm]: missing parameter: fc.bias: float32[8]",
    "param_surplus[llvm]: too many parameters: 3 given, but the model takes 2 *",
    "param_transposed[llvm]: parameter 'fc.weight' has shape (8, 4), * looks transposed*",
    "ill_typed[llvm]: the module is not well formed: *",
    "no_such_dimension[llvm]: the module's main: dims has 'm', but the model's dynamic *s are n",
    "no_model[llvm]: can't open an object of type int as a model; accepted are an IRModule, *",
    "no_spec[llvm]: an nn.Module needs its export spec; give spec=*",
    "which_entry[llvm]: the module has several entries (*); choose one, such as entry='one'",
    "unknown_entry[llvm]: no entry 'three'; the module has one, two",
    "a second call of tvm_tune in a test needs another name: *",
    "wrong_structure[llvm]: *output float32[2, 8]: the expected shape is float32[2, 2, 8]",
]


@pytest.mark.parametrize("workers", WORKERS, ids=WORKER_IDS)
def test_each_is_one_failed_test(suite: pytest.Pytester, workers: tuple[str, ...]) -> None:
    suite.makepyfile(SUITE)
    result = suite.runpytest_subprocess(*workers)
    result.assert_outcomes(passed=2, failed=len(MESSAGES))
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    text = result.stdout.str()
    assert "INTERNALERROR" not in text
    assert "Traceback" not in text
    for message in MESSAGES:
        result.stdout.fnmatch_lines([message.replace("[", "[[]")])
    for pasted in ("shapes={'x': (1,)}", "dims={'n': 1}"):
        assert f"    tvm_tune(model, {pasted})" in text or f"tvm_tune({pasted})" in text
