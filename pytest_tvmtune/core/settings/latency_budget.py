"""Latency budgets as users write them: `5ms`, `p99:8ms`, or both."""

from __future__ import annotations

import re
from dataclasses import dataclass

from pytest_tvmtune.core.errors import OptionError
from pytest_tvmtune.core.settings.quantities import parse_seconds

_QUANTILE = re.compile(r"p(\d{1,2}(?:\.\d+)?)")
_MEDIAN = "median"
# Beyond it, too few calls are above the quantile.
_MOST_QUANTILE = 0.999


@dataclass(frozen=True, kw_only=True)
class LatencyBudget:
    """The most that a quantile of the latency may be. quantile: 0.5 for the median."""

    text: str
    quantile: float
    limit_s: float

    @property
    def statistic(self) -> str:
        """The name of the quantile: `median`, or `p99`."""
        return _MEDIAN if self.quantile == 0.5 else f"p{100 * self.quantile:g}"


def parse_budgets(value: object, name: str) -> tuple[LatencyBudget, ...]:
    """Return the budgets in a value, at most one for each quantile.

    Args:
        value: Text such as `5ms`, `p99:8ms`, or `5ms, p99:8ms`, or a list of such texts.
        name: The setting, for messages.

    Raises:
        OptionError: It is anything else, or two budgets are for the same quantile.
    """
    values = value if isinstance(value, (list, tuple)) else [value]
    texts = [part for one in values for part in (one.split(",") if isinstance(one, str) else [one])]
    budgets = tuple(_parse(text, name) for text in texts)
    if len({budget.quantile for budget in budgets}) < len(budgets):
        raise OptionError(f"{name}: {value!r} has two budgets for the same quantile; remove one")
    return budgets


def parse_cpu(value: object, name: str) -> str:
    """Return a part of the name of a CPU. Raises OptionError."""
    if isinstance(value, str) and value.strip():
        return value.strip()
    raise OptionError(f"{name}: {value!r} is not a part of the name of a CPU, such as EPYC 7763")


def _parse(value: object, name: str) -> LatencyBudget:
    accepted = "a time with a unit, such as 5ms, or a quantile with a time, such as p99:8ms"
    if not isinstance(value, str):
        raise OptionError(f"{name}: {value!r} is not {accepted}")
    text = value.strip()
    before, colon, time = text.rpartition(":")
    match = _QUANTILE.fullmatch(before)
    if not re.search(r"\d\s*[um]?s\s*$", time) or (colon and before != _MEDIAN and match is None):
        raise OptionError(f"{name}: {value!r} is not {accepted}")
    quantile = round(float(match[1]) / 100, 6) if match else 0.5
    if not 0 < quantile <= _MOST_QUANTILE:
        raise OptionError(f"{name}: {value!r} is not p99.9 or a lower quantile")
    return LatencyBudget(text=text, quantile=quantile, limit_s=parse_seconds(time, name))
