"""What tests of several folders share: models, samples, and processes that run suites."""

from __future__ import annotations

import os
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
# In PYTHONPATH it keeps torch out of the processes that tests start.
WITHOUT_TORCH = ROOT / "tests" / "support" / "without_torch"
# The tests' modules can be imported, and torch can't.
IMPORTABLE = os.pathsep.join(map(str, (ROOT, WITHOUT_TORCH)))
# One that has nothing loaded, unlike tests/support/preloaded_python.py.
REAL_PYTHON = sys.executable
