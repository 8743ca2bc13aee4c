"""What TVM can't prepack is said to be that, and how to get round it; plain it compiles."""

from __future__ import annotations

import onnx.parser
import pytest

from pytest_tvmtune.core.errors import CompileError
from tests.support.cases import build_of
from tests.support.modules import OpenCase

GRAPHS = {
    "ScatterElements": (
        "g (float[4,3] x, int64[2,3] i, float[2,3] u) => (float[4,3] y)"
        "{ y = ScatterElements (x, i, u) }"
    ),
    "apache/tvm#17231": "g (float[3] x) => (float[3] z) <float[3] w = {1,2,3}> { z = Relu (w) }",
}


@pytest.mark.parametrize(("known", "graph"), GRAPHS.items())
def test_what_is_known_of_a_compile_error(open_: OpenCase, known: str, graph: str) -> None:
    model = onnx.parser.parse_model('<ir_version: 8, opset_import: ["": 17]>' + graph)
    build_of(open_(model))
    with pytest.raises(
        CompileError, match=r"TVM can't compile the model: .*; probably, TVM can't"
    ) as e:
        build_of(open_(model, prepack=True))
    assert known in str(e.value)
    assert "compile it without prepack" in str(e.value)
