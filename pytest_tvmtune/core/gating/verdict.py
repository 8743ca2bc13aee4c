"""The verdicts of the latency gate."""

from __future__ import annotations

from typing import Literal

# NEW: nothing is accepted yet. INCONCLUSIVE: measured, and not decided. INCOMPARABLE: what was
# accepted can't be run here.
Verdict = Literal["PASS", "IMPROVEMENT", "REGRESSION", "NEW", "INCONCLUSIVE", "INCOMPARABLE"]
