"""The models of tests/runner are for the tests of measuring too."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parents[1] / "runner"))
