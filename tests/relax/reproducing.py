"""Running a reproducer by itself."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path


def reproduced(folder: Path) -> str:
    """Run a reproducer as somebody who has nothing but tvm and numpy; return what it says."""
    done = subprocess.run(
        [sys.executable, "-I", str(folder / "repro.py")],
        capture_output=True,
        text=True,
        check=False,
        cwd="/",
    )
    assert done.returncode == 1, done.stdout + done.stderr
    assert "the fault shows" in done.stdout
    return done.stdout
