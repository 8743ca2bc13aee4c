"""The plugin as users have it: a wheel in site-packages, which come after the standard library."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

from tests.plugin.snippets import TINY
from tests.support import ROOT

TESTS = """
@pytest.mark.tvm_tune
def test_tiny(tvm_tune):
    tvm_tune(Tiny(), **GIVEN).check(EXPECTED)

def test_which():
    import pytest_tvmtune
    print("IMPORTED FROM", pytest_tvmtune.__file__)
"""


@pytest.mark.slow
def test_with_backports_beside_it(suite: pytest.Pytester, tmp_path: Path) -> None:
    """Such as `dataclasses` and `enum34`: whoever finds them first can't import anything."""
    home = tmp_path / "environment"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(home)], check=True)
    python = home / "bin" / "python"
    packages = Path(sysconfig.get_path("purelib", vars={"base": str(home)}))
    install = ["install", "--quiet", "--no-deps", "--disable-pip-version-check"]
    subprocess.run(
        [sys.executable, "-m", "pip", *install, "--target", str(packages), str(ROOT)], check=True
    )
    ours = [path for path in sys.path if path.endswith("site-packages")]
    (packages / "rest.pth").write_text("\n".join(ours))
    for name in ("dataclasses", "enum", "typing", "contextvars"):
        (packages / f"{name}.py").write_text(f"raise ImportError('{name} for Python 2')")
    suite.makepyfile(TINY + TESTS)
    # Fresh processes and the tuner's, too.
    done = subprocess.run(
        [str(python), "-m", "pytest", "-s", "--tvm-trials=4", "-p", "no:cacheprovider"],
        env=dict(os.environ), capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"IMPORTED FROM {packages}" in done.stdout
    assert "2 passed" in done.stdout
