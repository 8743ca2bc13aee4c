"""What tests of several folders share: models, samples, and processes that run suites."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).parents[2]
# In PYTHONPATH it keeps torch out of the processes that tests start.
WITHOUT_TORCH = ROOT / "tests" / "support" / "without_torch"
