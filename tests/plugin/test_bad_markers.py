"""Markers that are wrong: a collection error that names test and argument, exit code 2."""

from __future__ import annotations

import pytest

CASES = {
    "trails=8": "marker tvm_tune: unknown argument 'trails'; accepted are * did you mean 'trials'?",
    "8": "marker tvm_tune: takes keyword arguments only, not (8,)",
    "trials='few'": "marker tvm_tune: trials: 'few' is not a whole number from 0 to 1000000",
    "trials=True": "marker tvm_tune: trials: True is not a whole number",
    "threshold=0.03": "marker tvm_tune: threshold: 0.03 is not a positive percentage",
    "rtol=-1": "marker tvm_tune: rtol: -1 is not a finite number of at least 0",
    "prepack='sometimes'": "marker tvm_tune: prepack: 'sometimes' is not one of off, on, both",
    "target=['llvm', '{']": "marker tvm_tune: target: '{' is malformed JSON",
    "target=[]": "marker tvm_tune: target: the list of targets is empty; give at least one target",
    "strict=True": "marker tvm_tune: unknown argument 'strict'",
}


def test_each_is_told_with_its_test(suite: pytest.Pytester) -> None:
    for index, arguments in enumerate(CASES):
        suite.makepyfile(
            **{
                f"test_bad_{index}": f"""
                import pytest
                @pytest.mark.tvm_tune({arguments})
                def test_it_{index}(tvm_tune): pass
                """
            }
        )
    suite.makepyfile(
        test_idle="""
        import pytest
        @pytest.mark.tvm_tune(trials=8)
        def test_idle(): pass
        """
    )
    result = suite.runpytest_subprocess()
    assert result.ret == pytest.ExitCode.INTERRUPTED
    result.assert_outcomes(errors=len(CASES) + 1)
    for index, message in enumerate(CASES.values()):
        pattern = f"test_bad_{index}.py::test_it_{index}: {message}*".replace("[", "[[]")
        result.stdout.fnmatch_lines([pattern])
    result.stdout.fnmatch_lines(
        ["test_idle.py::test_idle has the marker tvm_tune but none of the fixtures tvm_tune,*"]
    )
    assert "INTERNALERROR" not in result.stdout.str()


def test_under_xdist_too(suite: pytest.Pytester) -> None:
    suite.makepyfile(
        """
        import pytest
        @pytest.mark.tvm_tune(trails=8)
        def test_it(tvm_tune): pass
        """
    )
    result = suite.runpytest_subprocess("-n", "2")
    assert result.ret != pytest.ExitCode.OK
    result.stdout.fnmatch_lines(["*test_it: marker tvm_tune: unknown argument 'trails'*"])
    assert "INTERNALERROR" not in result.stdout.str()
