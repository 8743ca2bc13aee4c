"""What a test registers with TVM: used where models run by `tvm_setup`, else a failure."""

from __future__ import annotations

import os
import subprocess

import pytest

from tests.plugin.snippets import WORKER_IDS, WORKERS

HEAD = """
import numpy as np
import pytest
import tvm
from tvm.relax.frontend import nn
from tvm.script import ir as I
from tvm.script import relax as R
"""
REGISTRATIONS = """
import tvm
from tvm import topi
from tvm.relax.transform.legalize_ops.common import _call_topi_without_attr

def twice_relu(x):
    return topi.multiply(topi.nn.relu(x), topi.full_like(x, 2.0))

tvm.ir.register_op_attr("relax.nn.relu", "FLegalize", _call_topi_without_attr(twice_relu), level=11)

@tvm.register_global_func("team.scale3", override=True)
def scale3(x, out):
    tvm.runtime.tensor(3 * x.numpy()).copyto(out)
"""
TESTS = """
class Relu(nn.Module):
    def forward(self, x):
        return nn.op.relu(x)

@pytest.mark.tvm_tune(trials=0)
def test_own_lowering(tvm_tune):
    x = np.linspace(-1, 1, 512, dtype="float32").reshape(2, 256)
    spec = {"forward": {"x": nn.spec.Tensor((2, 256), "float32")}}
    tvm_tune(Relu(), spec=spec, inputs={"x": x}).check(2 * np.maximum(x, 0))

@I.ir_module
class CallsPython:
    @R.function
    def main(x: R.Tensor((2, 3), "float32")) -> R.Tensor((2, 3), "float32"):
        R.func_attr({"num_input": 1})
        with R.dataflow():
            y = R.call_dps_packed("team.scale3", (x,), R.Tensor((2, 3), "float32"))
            z = R.add(y, x)
            R.output(z)
        return z

@pytest.mark.tvm_tune(trials=0)
def test_own_function(tvm_tune):
    x = np.ones((2, 3), "float32")
    tvm_tune(CallsPython, inputs=[x]).check(4 * x)
"""


def test_what_only_the_test_has_is_a_failure_that_names_it(suite: pytest.Pytester) -> None:
    """Models that can't depend on it pass."""
    unrelated = """
@pytest.mark.tvm_tune(trials=0)
def test_unrelated(tvm_tune):
    class Exp(nn.Module):
        def forward(self, x):
            return nn.op.exp(x)

    x = np.ones((2, 3), "float32")
    spec = {"forward": {"x": nn.spec.Tensor((2, 3), "float32")}}
    tvm_tune(Exp(), spec=spec, inputs={"x": x}).check(np.exp(x))
"""
    suite.makepyfile(test_it=HEAD + REGISTRATIONS + TESTS + unrelated)
    result = suite.runpytest_subprocess()
    result.assert_outcomes(failed=2, passed=1)
    only = "registered with TVM only in the test's process"
    result.stdout.fnmatch_lines(
        [
            f"own_lowering?llvm?: {only}: operator attribute FLegalize of relax.nn.relu (*:15). *",
            f"own_function?llvm?: {only}: global function team.scale3 (*test_it.py:17). Models*",
        ]
    )


def test_modules_of_the_setup_are_used_and_part_of_the_keys(suite: pytest.Pytester) -> None:
    """By the ini, and with what a test registers meanwhile named for itself alone."""
    suite.makeini("[pytest]\ntvm_setup = ops/lowerings.py\n")
    ops = suite.mkdir("ops")
    (ops / "lowerings.py").write_text("from factors import TWO\n" + REGISTRATIONS)
    (ops / "factors.py").write_text("TWO = 2.0\n")
    suite.makeconftest(f"import sys\nsys.path.insert(0, {str(ops)!r})")
    late = """
@pytest.mark.tvm_tune(trials=0)
def test_registers_meanwhile(tvm_tune):
    tvm.register_global_func("team.scale3", lambda x, out: None, override=True)
    tvm_tune(CallsPython)
"""
    suite.makepyfile(test_it=HEAD + "import lowerings\n" + TESTS + late)
    result = suite.runpytest_subprocess("--tvm-prepack=both", "-k", "own")
    result.assert_outcomes(passed=4, deselected=2)
    result.stdout.fnmatch_lines(["*compiled 4 *"])
    suite.runpytest_subprocess("-k", "own").stdout.fnmatch_lines(["*compiled 0,*"])
    (ops / "factors.py").write_text("TWO = 2.0  # edited\n")
    result = suite.runpytest_subprocess()
    result.assert_outcomes(passed=2, failed=1)
    result.stdout.fnmatch_lines(["*process: global function team.scale3 (*test_it.py:*). Models*"])
    result.stdout.fnmatch_lines(["*compiled 2 *"])


def test_a_hook_names_modules_and_an_override_of_theirs_is_seen(suite: pytest.Pytester) -> None:
    suite.makepyfile(lowerings=REGISTRATIONS, test_it=HEAD + TESTS)
    hook = "def pytest_tvmtune_setup(config):\n    return ['lowerings']\n"
    suite.makeconftest(hook)
    suite.runpytest_subprocess("-n1").assert_outcomes(passed=2)
    override = (
        "import lowerings, tvm\n"
        "tvm.register_global_func('team.scale3', lambda x, out: None, override=True)\n"
    )
    suite.makeconftest(override + hook)
    result = suite.runpytest_subprocess("-k", "function")
    result.assert_outcomes(failed=1, deselected=1)
    result.stdout.fnmatch_lines(["*process: global function team.scale3 (*conftest.py:2)*"])


def test_what_is_nowhere_registered_is_named_with_what_to_do(suite: pytest.Pytester) -> None:
    suite.makepyfile(test_it=HEAD + TESTS)
    result = suite.runpytest_subprocess("-k", "function")
    result.assert_outcomes(failed=1, deselected=1)
    result.stdout.fnmatch_lines(["*team.scale3*child processes*--tvm-setup=MODULE*"])


@pytest.mark.parametrize("workers", WORKERS, ids=WORKER_IDS)
def test_a_module_that_cannot_be_imported_ends_the_run(
    suite: pytest.Pytester, workers: tuple[str, ...]
) -> None:
    suite.makepyfile(broken="import tvm\n\ntvm.nothing\n", test_it=HEAD + TESTS)
    result = suite.runpytest_subprocess("--tvm-setup=broken", *workers)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    text = result.stdout.str() + result.stderr.str()
    assert "tvm_setup: can't import broken: AttributeError: module 'tvm'" in text
    assert "broken.py:3" in text
    assert "INTERNALERROR" not in text


def test_what_was_registered_before_the_plugin_is_found_by_name(
    suite: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    suite.makepyfile(early=REGISTRATIONS, test_it=HEAD + TESTS)
    monkeypatch.setenv("PYTHONPATH", str(suite.path), prepend=os.pathsep)
    result = suite.runpytest_subprocess("-p", "early", "-k", "function")
    result.assert_outcomes(failed=1, deselected=1)
    result.stdout.fnmatch_lines(["*process: global function team.scale3. Models*"])
    result.stdout.fnmatch_lines(["tvm was imported before pytest-tvmtune was loaded*"])
    suite.runpytest_subprocess("-p", "early", "--tvm-setup=early").assert_outcomes(passed=2)


LIBRARY = """
#include <tvm/ffi/reflection/registry.h>
TVM_FFI_STATIC_INIT_BLOCK() {
  tvm::ffi::reflection::GlobalDef().def("relax.ext.team", [](int x) { return x + 1; });
}
"""


def test_what_a_native_library_registers_is_found_by_name(suite: pytest.Pytester) -> None:
    from tvm_ffi.libinfo import include_paths

    source, library = suite.path / "team.cc", suite.path / "libteam.so"
    source.write_text(LIBRARY)
    flags = ["-std=c++17", "-O0", "-fPIC", "-shared", *(f"-I{path}" for path in include_paths())]
    subprocess.run(["c++", *flags, "-o", str(library), str(source)], check=True)
    native = f"import ctypes\nimport tvm\nctypes.CDLL({str(library)!r})\n"
    suite.makepyfile(native=native, test_it=HEAD + REGISTRATIONS + native + TESTS)
    options = ("--tvm-setup=native", "-k", "function")
    result = suite.runpytest_subprocess("-k", "function")
    result.assert_outcomes(failed=1, deselected=1)
    result.stdout.fnmatch_lines(["*team.scale3 (*), global function relax.ext.team. Models*"])
    result = suite.runpytest_subprocess(*options)
    result.assert_outcomes(failed=1, deselected=1)
    result.stdout.fnmatch_lines(["*team.scale3 (*). Models*"])
