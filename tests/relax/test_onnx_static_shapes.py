"""ONNX models whose shapes are static, though TVM's importer doesn't see it; and those that aren't.

The outputs are compared with onnxruntime's.
"""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
import onnx.parser
import pytest

from pytest_tvmtune.core.errors import ImporterError
from pytest_tvmtune.relax.importing import open_model
from tests.relax.small_onnx import assert_same

X = np.arange(24, dtype="float32").reshape(4, 6) - 12


def parsed(graph: str) -> Any:
    return onnx.parser.parse_model(f'<ir_version: 8, opset_import: ["": 17]>\n{graph}')


def vector(name: str, *values: int) -> str:
    listed = ", ".join(map(str, values))
    return f"{name} = Constant <value = int64[{len(values)}] {{{listed}}}> ()\n"


def number(name: str, value: int) -> str:
    return f"{name} = Constant <value = int64 {{{value}}}> ()\n"


FLAT = vector("all", -1) + "flat = Reshape (x, all)\n"
HALF = (
    number("two", 2) + vector("at", 0) + "n = Size (x)  h = Div (n, two)  u = Unsqueeze (h, at)\n"
)
STATIC = {
    "Slice to half of a Size": FLAT + HALF + vector("z", 0) + "y = Slice (flat, z, u)",
    "Range of a Size": FLAT
    + number("z", 0)
    + number("step", 2)
    + "n = Size (x)  r = Range (z, n, step)  y = Gather (flat, r)",
    "TopK of a Size": FLAT + HALF + "y, i = TopK (flat, u)",
    "Reshape to a Size": vector("at", 0) + "n = Size (x)  t = Unsqueeze (n, at)  y = Reshape (x, "
    "t)",
    "Shape with a start": vector("four", 4)
    + "s = Shape <start = 1> (x)  t = Concat <axis = 0> (s, four)  y = Reshape (x, t)",
    "NonZero of what a shape makes": "s = Shape (x)  o = ConstantOfShape <value = int64[1] {1}> "
    "(s) "
    "p = NonZero (o)  t = Transpose (p)  y = GatherND (x, t)",
    "Compress of a shape": "m = Constant <value = bool[2] {0, 1}> ()\n"
    + vector("four", 4)
    + "s = Shape (x)  c = Compress <axis = 0> (s, m)  t = Concat <axis = 0> (c, four) "
    "y = Reshape (x, t)",
}
DYNAMIC = {
    "p = NonZero (x)  y = Cast <to = 1> (p)": "NonZero (the node with output 'p') gives 'p' a "
    "shape",
    "[cut] q = Slice (x, n, n)  y = Relu (q)": "Slice (node 'cut') gives 'q' a shape",
    "q = ConstantOfShape (n)  y = Relu (q)": "ConstantOfShape (the node with output 'q') gives 'q'",
}


@pytest.mark.parametrize("body", STATIC.values(), ids=STATIC)
def test_what_depends_on_static_shapes_alone_is_folded(body: str) -> None:
    assert_same(parsed(f"g (float[4,6] x) => (float[a] y) {{ {body} }}"), {"x": X})


@pytest.mark.parametrize(("body", "said"), DYNAMIC.items(), ids=DYNAMIC)
def test_the_node_whose_shape_depends_on_values_is_named(body: str, said: str) -> None:
    graph = parsed(f"g (float[4,6] x, int64[1] n) => (float[a] y) {{ {body} }}")
    with pytest.raises(ImporterError) as caught:
        open_model(graph, name="m")
    assert said in str(caught.value)
    assert "a shape that depends on values, but" in str(caught.value)


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("[join] y = MatMul (x, x)", "MatMul (node 'join'): ValueError: Matmul requires"),
        (
            'z = Relu (x)  y = Einsum <equation = "ij,jk->ik"> (z)',
            "Einsum (the node with output 'y')",
        ),
        (
            (
                "y = If (c) <then_branch = t () => (float[4,6] a) { a = MatMul (x, x) },"
                " else_branch = e () => (float[4,6] b) { b = Neg (x) }>"
            ),
            "MatMul (the node with output 'a'): ValueError: Matmul requires",
        ),
    ],
)
def test_the_node_that_the_importer_fails_on_is_named(
    body: str, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # onnxruntime would refuse these first, in words of its own.
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    graph = parsed(f"g (float[4,6] x, bool c) => (float[a,b] y) {{ {body} }}")
    with pytest.raises(ImporterError) as caught:
        open_model(graph, name="m")
    assert f"TVM's ONNX importer failed at {said}" in str(caught.value)
    assert "Error converting operator" in caught.value.printed or "If" in body
    assert caught.value.__cause__ is not None
