"""A suite that doesn't use the plugin pays nothing for it."""

from __future__ import annotations

import pytest

from tests.plugin.snippets import MARKED, PLAIN

# Told at the very end, by a conftest: what this process has imported.
SPY = """
import sys
def pytest_unconfigure(config):
    heavy = ["tvm", "tvm_ffi", "numpy", "sqlite3", "onnx", "torch", "tflite", "tqdm", "filelock"]
    heavy += ["jinja2", "msgspec"]
    print("IMPORTED", *[name for name in heavy if name in sys.modules])
"""


@pytest.fixture(autouse=True)
def _torch_as_users_have_it(suite: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PYTHONPATH")


def imported(suite: pytest.Pytester, *options: str) -> set[str]:
    """Return what a run imports that it doesn't without the plugin (coverage brings sqlite3)."""
    result = suite.runpytest_subprocess(*options)
    assert result.ret == 0
    (line,) = [line for line in result.outlines if line.startswith("IMPORTED")]
    return set(line.split()[1:])


@pytest.mark.parametrize("options", [("--co",), ()], ids=["collect", "run"])
def test_nothing_heavy_is_imported(suite: pytest.Pytester, options: tuple[str, ...]) -> None:
    suite.makeconftest(SPY)
    suite.makepyfile(PLAIN)
    assert imported(suite, *options) == imported(suite, "-p", "no:tvmtune", *options)
    assert not (suite.path / ".tvmtune").exists()


def test_marked_tests_and_models_are_collected_without_tvm(suite: pytest.Pytester) -> None:
    suite.makeconftest(SPY)
    suite.makepyfile(MARKED)
    (suite.path / "mlp.onnx").write_text("nobody reads this")
    (suite.path / "mlp.tvmtune.toml").write_text("trials = 0\n[shapes]\nx = [1, 2]\n")
    options = ("--co", "-q", "--tvm-collect=*.onnx")
    assert not imported(suite, *options) & {"tvm", "tvm_ffi", "numpy", "onnx", "torch"}
    assert not (suite.path / ".tvmtune").exists()


def test_the_spy_would_see_it(suite: pytest.Pytester) -> None:
    suite.makeconftest("import numpy\n" + SPY)
    suite.makepyfile(PLAIN)
    assert "numpy" in imported(suite)
