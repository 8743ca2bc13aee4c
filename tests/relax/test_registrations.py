"""What is recorded of registrations: the user's, by whatever way, and none of TVM's own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = """
import sys
from pytest_tvmtune.relax.installation.registrations import (
    recorded, start_recording, unexplained_names
)
start_recording()
assert not {"tvm", "tvm_ffi", "numpy"} & set(sys.modules)
import tvm, tvm.relax.frontend.onnx, tvm.relax.training, tvm.rpc, tvm.s_tir.dlight
import pytest_tvmtune.relax.tuning.preload
assert recorded() == []
assert unexplained_names() == frozenset()

from tvm.ir import Op, register_op_attr
from tvm.relax.backend.pattern_registry import register_patterns
from tvm.relax.dpl import is_op, wildcard
from tvm.relax.transform.legalize_ops.common import register_legalize
from tvm.s_tir import TensorIntrin
from tvm.script import tirx as T

@T.prim_func(s_tir=True)
def copy(a: T.Buffer((4,), "float32"), b: T.Buffer((4,), "float32")):
    with T.sblock("root"):
        T.reads(a[0:4])
        T.writes(b[0:4])
        for i in range(4):
            with T.sblock("one"):
                vi = T.axis.remap("S", [i])
                b[vi] = a[vi]

def lowering(bb, call):
    return call

at = tvm.tirx if hasattr(tvm.tirx, "register_intrin_lowering") else tvm.ir  # until 0.26
line = sys._getframe().f_lineno
Op.get("relax.nn.gelu").reset_attr("FLegalize")
register_legalize("relax.nn.gelu", lowering)
register_op_attr("relax.nn.relu", "FLegalize", level=11)(lowering)
Op.get("relax.add").set_attr("FLegalize", lowering, 11)
tvm.relax.pipeline.register_pipeline("team")(lambda: None)
at.register_intrin_lowering("tirx.exp", target="llvm", f=lowering, level=20)
register_patterns([("team.matmul", is_op("relax.matmul")(wildcard(), wildcard()))])
TensorIntrin.register("team.copy", copy, copy)
tvm.register_global_func(lowering)
tvm.register_global_func("lowering", lowering, override=True)
for number, one in enumerate(recorded(), start=1):
    assert (one.file, one.line) == (__file__, line + number), one
    print(one.kind, one.name)
assert unexplained_names() == frozenset()
"""
EXPECTED = """removal of operator attribute FLegalize of relax.nn.gelu
operator attribute FLegalize of relax.nn.gelu
operator attribute FLegalize of relax.nn.relu
operator attribute FLegalize of relax.add
pipeline team
lowering of intrinsic tirx.exp
pattern team.matmul
tensor intrinsic team.copy
global function lowering
global function lowering
"""


@pytest.mark.each_version
def test_each_way_to_register(tmp_path: Path) -> None:
    script = tmp_path / "registers.py"
    script.write_text(SCRIPT)
    done = subprocess.run(
        [sys.executable, str(script)], capture_output=True, text=True, check=False
    )
    assert not done.returncode, done.stderr
    assert done.stdout == EXPECTED
