"""A package that can't be imported, for whatever reason, is one message and no internal error."""

from __future__ import annotations

import os

import pytest

from pytest_tvmtune.machine.import_errors import import_package
from tests.plugin.snippets import MARKED, WORKER_IDS, WORKERS


@pytest.fixture
def interpreter(suite: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> pytest.Pytester:
    """A suite run by a new interpreter, that finds modules in the suite's folder first."""
    monkeypatch.setenv("PYTHONPATH", str(suite.path), prepend=os.pathsep)
    return suite


@pytest.mark.parametrize(
    ("module", "code", "cause"),
    [
        (
            "ml_dtypes",
            "mine = 1",
            "`import tvm_ffi` fails: *; ml_dtypes is *ml_dtypes.py*",
        ),
        ("tvm_ffi", "raise SystemExit('no')", "`import tvm_ffi` fails: SystemExit: no (at *"),
        ("numpy", "1 / 0", "`import numpy` fails: ZeroDivisionError: *numpy.py:1)"),
    ],
)
def test_the_cause_is_a_usage_error(
    interpreter: pytest.Pytester, module: str, code: str, cause: str
) -> None:
    interpreter.makepyfile(**{module: code}, test_marked=MARKED)
    result = interpreter.runpytest_subprocess("-p", "no:benchmark")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([f"ERROR: {cause}"])
    result.stderr.no_fnmatch_line("*INTERNALERROR*")


@pytest.mark.parametrize("workers", WORKERS, ids=WORKER_IDS)
def test_without_a_home(
    interpreter: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, workers: tuple[str, ...]
) -> None:
    """`import tvm` asks for it."""
    lost = "def home():\n    raise RuntimeError('Could not determine home directory.')\n"
    interpreter.makepyfile(
        nomad=f"from pathlib import Path\n{lost}Path.home = home\n", test_marked=MARKED
    )
    result = interpreter.runpytest_subprocess("-p", "nomad", *workers)
    text = result.stdout.str() + result.stderr.str()
    assert result.ret == pytest.ExitCode.USAGE_ERROR, text
    assert "fails: RuntimeError: Could not determine home directory." in text
    assert "INTERNALERROR" not in text


def test_a_broken_package_of_one_model_fails_that_test(interpreter: pytest.Pytester) -> None:
    interpreter.makepyfile(onnx="raise TypeError('Descriptors cannot be created directly.')")
    (interpreter.path / "mlp.onnx").write_text("nobody reads this")
    result = interpreter.runpytest_subprocess("--tvm-collect=*.onnx", "--tvm-trials=0")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        ["mlp?llvm?: reading ONNX models needs onnx, but `import onnx` fails: TypeError: Desc*"]
    )


def test_one_that_is_there_is_imported() -> None:
    assert import_package("json", "reading", "").loads("1") == 1
