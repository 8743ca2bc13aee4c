"""Another TVM of the same version is another TVM: nothing of the old one is served."""

from __future__ import annotations

import os

import pytest

from tests.support.edited_tvm import edited_tvm

RELU = """
import numpy as np
import pytest
from tvm.relax.frontend import nn

class Relu(nn.Module):
    def forward(self, x):
        return nn.op.relu(x)

@pytest.mark.tvm_tune(trials=0)
def test_relu(tvm_tune):
    x = np.linspace(-1, 1, 512, dtype="float32").reshape(2, 256)
    spec = {"forward": {"x": nn.spec.Tensor((2, 256), "float32")}}
    tvm_tune(Relu(), spec=spec, inputs={"x": x}).check(np.maximum(x, 0))
"""
EDITED = "relax/transform/legalize_ops/nn.py"
SOUND, WRONG = b"_call_topi_without_attr(topi.nn.relu)", b"_call_topi_without_attr(topi.negative)"
LIBRARY = "lib/libtvm_runtime.so"


def test_an_edited_tvm_compiles_again_and_is_judged(
    suite: pytest.Pytester,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    suite.makepyfile(RELU)
    suite.runpytest_subprocess("--tvm-update-new").assert_outcomes(passed=1)
    again = suite.runpytest_subprocess()
    again.assert_outcomes(passed=1)
    again.stdout.fnmatch_lines(["* same code  PASS", "*compiled 0,*"])

    def edited(source: bytes) -> bytes:
        assert source.count(SOUND) == 1
        return source.replace(SOUND, WRONG)

    edited_folder = str(edited_tvm(tmp_path_factory.mktemp("edited"), {EDITED: edited}))
    monkeypatch.setenv("PYTHONPATH", edited_folder, prepend=os.pathsep)
    wrong = suite.runpytest_subprocess()
    wrong.assert_outcomes(failed=1)
    wrong.stdout.fnmatch_lines(["*WRONG NUMBERS*"])
    wrong.stdout.no_fnmatch_line("*compiled 0,*")

    monkeypatch.setenv("PYTHONPATH", os.environ["PYTHONPATH"].removeprefix(edited_folder)[1:])
    sound = suite.runpytest_subprocess()
    sound.assert_outcomes(passed=1)
    sound.stdout.fnmatch_lines(["* same code  PASS", "*compiled 0,*"])


def test_a_rebuilt_library_of_the_same_version_compiles_again(
    suite: pytest.Pytester,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    suite.makepyfile(RELU)
    suite.runpytest_subprocess("--tvm-update-new").assert_outcomes(passed=1)

    def rebuilt(library: bytes) -> bytes:
        return library + b"\0"  # the loader doesn't read what is behind the sections

    folder = str(edited_tvm(tmp_path_factory.mktemp("rebuilt"), {LIBRARY: rebuilt}))
    monkeypatch.setenv("PYTHONPATH", folder, prepend=os.pathsep)
    first, second = suite.runpytest_subprocess(), suite.runpytest_subprocess()
    for run in (first, second):
        run.assert_outcomes(passed=1)
    first.stdout.no_fnmatch_line("*compiled 0,*")
    second.stdout.fnmatch_lines(["*compiled 0,*"])
