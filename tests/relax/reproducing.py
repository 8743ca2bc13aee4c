"""Running a reproducer by itself."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

# `import tvm` imports torch wherever it is installed, and takes twice as long.
_WITHOUT_TORCH = """
import runpy, sys
sys.modules["torch"] = None
runpy.run_path(sys.argv[1], run_name="__main__")
"""


def reproduced(folder: Path) -> str:
    """Run a reproducer as somebody who has nothing but tvm and numpy; return what it says."""
    done = subprocess.run(
        [sys.executable, "-I", "-c", _WITHOUT_TORCH, str(folder / "repro.py")],
        capture_output=True,
        text=True,
        check=False,
        cwd="/",
    )
    assert done.returncode == 1, done.stdout + done.stderr
    assert "the kernels differ" in done.stdout
    return done.stdout
