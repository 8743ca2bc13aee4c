"""Stage: the latency next to the budget of the test, on this machine."""

from __future__ import annotations

import math
from collections.abc import Sequence

from pytest_tvmtune.core.errors import counted
from pytest_tvmtune.core.gating.confidence_sequence import item_alpha
from pytest_tvmtune.core.gating.quantile_interval import (
    calls_for,
    quantile_interval,
)
from pytest_tvmtune.core.gating.ratio_text import percent_text
from pytest_tvmtune.core.results.budget_result import BudgetResult, BudgetVerdict
from pytest_tvmtune.core.settings.latency_budget import LatencyBudget
from pytest_tvmtune.report.text_tables import format_seconds
from pytest_tvmtune.stages.case import Case
from pytest_tvmtune.stages.latency.paired_measurement import time_calls
from pytest_tvmtune.store.artifacts import Artifact

_HINT = "; to measure more calls, raise --tvm-max-time"


def judge_budgets(
    case: Case, artifact: Artifact, *, expected_s: float, gated_before: int = 0
) -> tuple[BudgetResult, ...]:
    """Return the verdict on each budget of a case.

    Args:
        case: The case.
        artifact: Its artifact.
        expected_s: The approximate seconds of a call.
        gated_before: The number of verdicts that the test item asked for before.

    Raises:
        ChildError: The artifact crashes or hangs.
    """
    budgets, cpu = case.options.max_latency, case.machine.cpu
    only_on = case.options.only_on
    if only_on is not None and only_on.lower() not in cpu.lower():
        return tuple(_elsewhere(budget, cpu, only_on) for budget in budgets)
    if not budgets:
        return ()
    alpha = item_alpha(case.run_context.gated_items, gated_before) / len(budgets)
    most_calls = max(calls_for(budget.quantile, alpha) for budget in budgets)
    calls_s = time_calls(case, artifact, expected_s=expected_s, most_calls=most_calls)
    hint = _HINT if len(calls_s) < most_calls else ""
    return tuple(_judged(budget, calls_s, alpha, cpu, hint=hint) for budget in budgets)


def _judged(
    budget: LatencyBudget, calls_s: Sequence[float], alpha: float, cpu: str, *, hint: str
) -> BudgetResult:
    found = quantile_interval(calls_s, budget.quantile, alpha)
    verdict: BudgetVerdict = "INCONCLUSIVE"
    if found.low > budget.limit_s:
        verdict = "OVER BUDGET"
    elif found.high < budget.limit_s:
        verdict = "PASS"
    ends = f"{format_seconds(found.low)} or more"
    if math.isfinite(found.high):
        ends = f"{format_seconds(found.low)} to {format_seconds(found.high)}"
    message = (
        f"{budget.statistic} {format_seconds(found.value)} ({percent_text(1 - 2 * alpha)} "
        f"confidence: {ends}), budget {format_seconds(budget.limit_s)}, by "
        f"{counted(len(calls_s), 'call')} on {cpu}"
    )
    if verdict == "INCONCLUSIVE":
        message += hint
    return BudgetResult(
        verdict=verdict,
        message=message,
        statistic=budget.statistic,
        limit_s=budget.limit_s,
        value_s=found.value,
        interval=(found.low, found.high),
        confidence=1 - 2 * alpha,
        calls=len(calls_s),
        cpu=cpu,
    )


def _elsewhere(budget: LatencyBudget, cpu: str, only_on: str) -> BudgetResult:
    return BudgetResult(
        verdict="INCOMPARABLE",
        message=f"the budget {budget.text} is for {only_on!r} only, and this is {cpu}",
        statistic=budget.statistic,
        limit_s=budget.limit_s,
        cpu=cpu,
    )
