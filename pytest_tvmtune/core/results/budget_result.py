"""The result of comparing the latency with a budget."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from pytest_tvmtune.core.json_codec import Count, NullableFloat

# INCONCLUSIVE: the limit is inside the interval. INCOMPARABLE: the budget is for another machine.
BudgetVerdict = Literal["PASS", "OVER BUDGET", "INCONCLUSIVE", "INCOMPARABLE"]


@dataclass(frozen=True, kw_only=True)
class BudgetResult:
    """A quantile of the latency next to its limit, on the machine that ran the test.

    Attributes:
        verdict: `OVER BUDGET` if the interval is above the limit, `PASS` if it is below.
            `INCOMPARABLE` if the budget is for another machine; then nothing was measured.
        message: The verdict in words.
        statistic: `median`, or a percentile such as `p99`.
        limit_s: The budget.
        value_s: The statistic of the measured calls; null if nothing was measured.
        interval: The confidence interval of the statistic. Its upper end is null with too few
            calls.
        confidence: The confidence of `interval`.
        calls: The number of calls that were measured.
        cpu: The CPU model of the machine or device.
    """

    verdict: BudgetVerdict
    message: str
    statistic: str
    limit_s: float
    value_s: float | None = None
    interval: tuple[float, NullableFloat] | None = None
    confidence: float | None = None
    calls: Count = 0
    cpu: str = ""
