"""kill -9 of pytest, tuner, builders and runner at random moments, many times.

Usage: python benchmarks/faults.py [KILLS]      (default 50 of each; about half an hour)

Runs tests/stages/test_faults.py, whose assertions say what must hold: no finished record lost, a
sound store, no process left, the next run goes on.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

TESTS = Path(__file__).parents[1] / "tests" / "stages" / "test_faults.py"


def main() -> int:
    kills = sys.argv[1] if len(sys.argv) > 1 else "50"
    command = [sys.executable, "-m", "pytest", str(TESTS), "-v", "-k", "killed", "--durations=0"]
    return subprocess.call(command, env={**os.environ, "TVMTUNE_KILLS": kills})


if __name__ == "__main__":
    sys.exit(main())
