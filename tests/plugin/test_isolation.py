"""Models that crash or hang the compiler, or themselves: one failed test each, all others go on."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.plugin.snippets import TINY

EXTERN = '''
from tvm.script import ir as I, relax as R, tirx as T

@I.ir_module
class {name}:
    """Well-formed, and {what}."""
    @T.prim_func(private=True, s_tir=True)
    def kernel(a: T.Buffer((4,), "float32"), b: T.Buffer((4,), "float32")):
        for i in range(4):
            with T.sblock("b"):
                vi = T.axis.remap("S", [i])
                b[vi] = {value}
    @R.function
    def main(x: R.Tensor((4,), "float32")) -> R.Tensor((4,), "float32"):
        R.func_attr({{"num_input": 1}})
        cls = {name}
        with R.dataflow():
            y = R.call_tir(cls.kernel, (x,), R.Tensor((4,), "float32"))
            R.output(y)
        return y
'''
# LLVM looks an intrinsic up by its number, and this one is none.
CRASHES = EXTERN.format(
    name="Crashes",
    what="crashes LLVM",
    value='T.call_llvm_pure_intrin("float32", T.uint32(99999), a[vi])',
)
HANGS = EXTERN.format(
    name="Hangs",
    what="never ends",
    value='a[vi] + T.Cast("float32", T.call_extern("int32", "sleep", 3600))',
)
ABORTS = EXTERN.format(
    name="Aborts",
    what="aborts when run",
    value='a[vi] + T.Cast("float32", T.call_extern("int32", "abort"))',
)
SUITE = """
{model}

@pytest.mark.tvm_tune(trials={trials})
def test_before(tvm_tune):
    tvm_tune(Tiny(), **GIVEN).check(EXPECTED)

@pytest.mark.tvm_tune(trials={trials})
def test_bad(tvm_tune):
    tvm_tune({name}).check()

@pytest.mark.tvm_tune(trials={trials})
def test_after(tvm_tune):
    tvm_tune(Tiny(), **GIVEN).check(EXPECTED)
"""


def run(suite: pytest.Pytester, model: str, name: str, *options: str, trials: int = 0) -> str:
    suite.makepyfile(test_it=TINY + SUITE.format(model=model, name=name, trials=trials))
    result = suite.runpytest_subprocess(*options)
    result.assert_outcomes(passed=2, failed=1)
    assert result.ret == 1
    return result.stdout.str()


@pytest.mark.parametrize(
    ("model", "name", "said"),
    [
        (CRASHES, "Crashes", "bad[llvm]: compiling: crashed with SIGSEGV"),
        (ABORTS, "Aborts", "bad[llvm]: first run with these inputs: crashed"),
    ],
)
def test_a_crash_between_two_others(
    suite: pytest.Pytester, model: str, name: str, said: str
) -> None:
    out = run(suite, model, name)
    assert said in out
    log = next(line for line in out.splitlines() if line.startswith("log: "))
    assert Path(log[5:].strip()).match("*/.tvmtune/logs/bad-llvm-*-build.log")
    assert Path(log[5:].strip()).is_file()


def test_a_first_run_that_never_ends(suite: pytest.Pytester) -> None:
    out = run(suite, HANGS, "Hangs", "--tvm-timeout=10")
    assert "first run with these inputs: no answer within 10 s" in out


def test_a_compiler_that_takes_too_long(suite: pytest.Pytester) -> None:
    suite.makepyfile(test_it=TINY + SUITE.format(model="", name="Tiny", trials=0))
    result = suite.runpytest_subprocess("--tvm-timeout=10ms", "-k", "before")
    result.assert_outcomes(failed=1, deselected=2)
    result.stdout.fnmatch_lines(["*no answer within 0.01 s, so it was stopped", "log: *"])


def test_candidates_that_crash_the_builder_are_reported_and_cost_that_model_only(
    suite: pytest.Pytester,
) -> None:
    out = run(suite, CRASHES, "Crashes", trials=2)
    assert "compiling: crashed with SIGSEGV" in out
    [ledger] = [
        text
        for path in (suite.path / ".tvmtune" / "tuning").rglob("*.jsonl")
        if '"kernel"' in (text := path.read_text())
    ]
    assert "failed: build: crashed with SIGSEGV" in ledger
