"""A suite that doesn't use the plugin pays nothing for it."""

from __future__ import annotations

import pytest
from snippets import MARKED, PLAIN

# Told at the very end, by a conftest: what this process has imported.
SPY = """
import sys
def pytest_unconfigure(config):
    heavy = ["tvm", "tvm_ffi", "numpy", "sqlite3", "onnx", "tqdm", "filelock"]
    print("IMPORTED", [name for name in heavy if name in sys.modules])
"""


@pytest.mark.parametrize("options", [("--co",), ()], ids=["collect", "run"])
def test_nothing_heavy_is_imported(suite: pytest.Pytester, options: tuple[str, ...]) -> None:
    suite.makeconftest(SPY)
    suite.makepyfile(PLAIN)
    result = suite.runpytest_subprocess(*options)
    assert result.ret == 0
    result.stdout.fnmatch_lines(["*tvmtune-*", "IMPORTED *"])
    assert "IMPORTED []" in result.stdout.str()
    assert not (suite.path / ".tvmtune").exists()


def test_marked_tests_are_collected_without_tvm(suite: pytest.Pytester) -> None:
    suite.makeconftest(SPY)
    suite.makepyfile(MARKED)
    result = suite.runpytest_subprocess("--co", "-q")
    result.stdout.fnmatch_lines(["*::test_marked[[]llvm[]]"])
    assert "IMPORTED []" in result.stdout.str()
    assert not (suite.path / ".tvmtune").exists()
