"""Index maps of every version's traces, as this version writes them."""

from __future__ import annotations

import json

import pytest
import tvm_ffi

from pytest_tvmtune.relax import compat
from pytest_tvmtune.relax.tuning.replaying.index_maps import with_own_index_maps

# Of `lambda i, j: [i // 8, j, i % 8, i * 2 + j - 3]`, written by the versions themselves.
WRITTEN = {
    "0.25": """{"root_index":18,"nodes":[{"type":"None"},{"type":"ffi.String","data":"i"},
{"type":"ir.PrimType","data":{"span":0,"dtype":"int64"}},
{"type":"tirx.Var","data":{"span":0,"dtype":"int64","name":1,"type_annotation":2}},
{"type":"ffi.String","data":"j"},{"type":"ir.PrimType","data":{"span":0,"dtype":"int64"}},
{"type":"tirx.Var","data":{"span":0,"dtype":"int64","name":4,"type_annotation":5}},
{"type":"ffi.Array","data":[3,6]},
{"type":"ir.IntImm","data":{"span":0,"dtype":"int64","value":8}},
{"type":"tirx.FloorDiv","data":{"span":0,"dtype":"int64","a":3,"b":8}},
{"type":"ir.IntImm","data":{"span":0,"dtype":"int64","value":8}},
{"type":"tirx.FloorMod","data":{"span":0,"dtype":"int64","a":3,"b":10}},
{"type":"ir.IntImm","data":{"span":0,"dtype":"int64","value":2}},
{"type":"tirx.Mul","data":{"span":0,"dtype":"int64","a":3,"b":12}},
{"type":"tirx.Add","data":{"span":0,"dtype":"int64","a":13,"b":6}},
{"type":"ir.IntImm","data":{"span":0,"dtype":"int64","value":3}},
{"type":"tirx.Sub","data":{"span":0,"dtype":"int64","a":14,"b":15}},
{"type":"ffi.Array","data":[9,6,11,16]},
{"type":"tirx.IndexMap","data":
{"initial_indices":7,"final_indices":17,"inverse_index_map":0}}]}""",
    "0.26": """{"root_index":17,"nodes":[{"type":"None"},
{"type":"ir.PrimType","data":{"span":0,"dtype":"int64"}},{"type":"ffi.String","data":"i"},
{"type":"ir.Var","data":{"span":0,"ty":1,"name":2}},{"type":"ffi.String","data":"j"},
{"type":"ir.Var","data":{"span":0,"ty":1,"name":4}},{"type":"ffi.Array","data":[3,5]},
{"type":"ir.IntImm","data":{"span":0,"ty":1,"value":8}},
{"type":"tirx.FloorDiv","data":{"span":0,"ty":1,"a":3,"b":7}},
{"type":"ir.IntImm","data":{"span":0,"ty":1,"value":8}},
{"type":"tirx.FloorMod","data":{"span":0,"ty":1,"a":3,"b":9}},
{"type":"ir.IntImm","data":{"span":0,"ty":1,"value":2}},
{"type":"tirx.Mul","data":{"span":0,"ty":1,"a":3,"b":11}},
{"type":"tirx.Add","data":{"span":0,"ty":1,"a":12,"b":5}},
{"type":"ir.IntImm","data":{"span":0,"ty":1,"value":3}},
{"type":"tirx.Sub","data":{"span":0,"ty":1,"a":13,"b":14}},
{"type":"ffi.Array","data":[8,5,10,15]},
{"type":"tirx.IndexMap","data":
{"initial_indices":6,"final_indices":16,"inverse_index_map":0}}]}""",
    "0.27": """{"root_index":20,"nodes":[{"type":"None"},
{"type":"ir.PrimType","data":{"span":0,"dtype":"int64"}},{"type":"ffi.String","data":"i"},
{"type":"ir.Var","data":{"span":0,"ty":1,"name":2}},{"type":"ffi.String","data":"j"},
{"type":"ir.Var","data":{"span":0,"ty":1,"name":4}},{"type":"ffi.Array","data":[3,5]},
{"type":"int","data":8},{"type":"ir.IntImm","data":{"span":0,"ty":1,"value":7}},
{"type":"prim.FloorDiv","data":{"span":0,"ty":1,"a":3,"b":8}},
{"type":"ir.IntImm","data":{"span":0,"ty":1,"value":7}},
{"type":"prim.FloorMod","data":{"span":0,"ty":1,"a":3,"b":10}},{"type":"int","data":2},
{"type":"ir.IntImm","data":{"span":0,"ty":1,"value":12}},
{"type":"prim.Mul","data":{"span":0,"ty":1,"a":3,"b":13}},
{"type":"prim.Add","data":{"span":0,"ty":1,"a":14,"b":5}},{"type":"int","data":3},
{"type":"ir.IntImm","data":{"span":0,"ty":1,"value":16}},
{"type":"prim.Sub","data":{"span":0,"ty":1,"a":15,"b":17}},
{"type":"ffi.Array","data":[9,5,11,18]},
{"type":"tirx.IndexMap","data":
{"initial_indices":6,"final_indices":19,"inverse_index_map":0}}]}""",
}

pytestmark = pytest.mark.each_version


@pytest.mark.parametrize("version", WRITTEN)
def test_the_map_is_the_same(version: str) -> None:
    trace = [[["TransformLayout", ["b1", WRITTEN[version]], [0, 1], []]], []]
    own = with_own_index_maps(trace)
    assert [own[0][0][0], own[0][0][1][0], *own[0][0][2:], own[1]] == [
        "TransformLayout", "b1", [0, 1], [], [],
    ]  # fmt: skip
    expected = compat.IndexMap.from_func(lambda i, j: [i // 8, j, i % 8, i * 2 + j - 3])
    assert tvm_ffi.structural_equal(compat.load_json(own[0][0][1][1]), expected)


def test_what_is_not_known_is_said() -> None:
    graph = json.loads(WRITTEN["0.26"])
    graph["nodes"][8]["type"] = "tirx.Ramp"
    with pytest.raises(ValueError, match=r"tirx\.Ramp can't be replayed"):
        with_own_index_maps(json.dumps(graph))


def test_other_parts_of_a_trace_stay() -> None:
    trace = [[["Annotate", ["b0", 64], ["pragma"], []], ["EnterPostproc", [], [], []]], [[1, [2]]]]
    assert with_own_index_maps(trace) == trace
