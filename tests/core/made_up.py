"""Evidence as the gate weighs it, made up."""

from __future__ import annotations

import math

from pytest_tvmtune.core.gating.confidence_sequence import Evidence


def evidence(low: float, high: float, *, baseline_s: float = 1.0) -> Evidence:
    """Return evidence with this interval, the ratio in its middle."""
    ratio = math.sqrt(low * high) if low > 0 and high < math.inf else 1.0
    return Evidence(
        ratio=ratio,
        low=low,
        high=high,
        alpha=0.01,
        baseline_median_s=baseline_s,
        now_median_s=baseline_s * ratio,
        epochs=20,
        pairs=60,
    )
