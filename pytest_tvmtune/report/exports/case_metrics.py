"""The numbers of a case that dashboards show, with their units."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import quantiles
from typing import Literal

from pytest_tvmtune.core.results.case_quantities import QUANTITIES, Quantity, Unit
from pytest_tvmtune.core.results.case_result import CaseResult
from pytest_tvmtune.core.results.latency_result import LatencyResult

Bounds = tuple[float, float]


@dataclass(frozen=True, kw_only=True)
class Value:
    """A finite number, and the bounds around it if they are known."""

    value: float
    bounds: Bounds | None = None


@dataclass(frozen=True, kw_only=True)
class Metric:
    """A number of a case. value: None if it isn't known.

    name: words with `_`, without the unit. bounds: what the bounds of a value mean, "" without any.
    slug: of Bencher's measure, "" for a number that it doesn't get. factor: of its unit there.
    """

    name: str
    unit: Unit | Literal["ratio"]
    help: str
    value: Callable[[CaseResult], Value | None]
    bounds: str = ""
    slug: str = ""
    factor: float = 1.0


def _latency(result: CaseResult) -> Value | None:
    latency = result.latency
    if latency is None:
        return None
    if len(latency.samples_s) < 2:
        return _value(latency.median_s)
    low, _, high = quantiles(latency.samples_s, n=4, method="inclusive")
    return _value(latency.median_s, (low, high))


def _baseline_latency(result: CaseResult) -> Value | None:
    return _value(result.latency.baseline_median_s) if result.latency else None


def _slowdown(result: CaseResult) -> Value | None:
    return _ratio(result.latency)


def _limit(result: CaseResult) -> Value | None:
    return _value(result.latency.limit_ratio) if result.latency else None


def _drift(result: CaseResult) -> Value | None:
    return _ratio(result.drift.latency) if result.drift else None


def _ratio(latency: LatencyResult | None) -> Value | None:
    return _value(latency.known_ratio, latency.interval) if latency else None


def _value(value: float | None, bounds: Sequence[float] | None = None) -> Value | None:
    if value is None or not math.isfinite(value):
        return None
    known = bounds is not None and all(map(math.isfinite, bounds))
    return Value(value=value, bounds=(bounds[0], bounds[1]) if bounds and known else None)


def _error(result: CaseResult) -> Value | None:
    return _value(result.reference_error.max_abs_error) if result.reference_error else None


def _metric(one: Quantity) -> Metric:
    return Metric(
        name=one.field.removesuffix("_bytes").removesuffix("_s"),
        unit=one.unit,
        help=one.help,
        value=lambda result: _value(one.now(result)),
        slug=one.slug,
    )


METRICS: tuple[Metric, ...] = (
    Metric(
        name="latency",
        unit="seconds",
        help="Median time of a call.",
        value=_latency,
        bounds="quartile of the calls",
        slug="latency",
        factor=1e9,
    ),
    Metric(
        name="baseline_latency",
        unit="seconds",
        help="Median time of a call of the baseline.",
        value=_baseline_latency,
    ),
    Metric(
        name="slowdown",
        unit="ratio",
        help="Time of a call, divided by the time of a call of the baseline.",
        value=_slowdown,
        bounds="end of the confidence interval",
        slug="slowdown-ratio",
    ),
    Metric(
        name="slowdown_limit",
        unit="ratio",
        help="Slowdown that fails the test.",
        value=_limit,
    ),
    Metric(
        name="drift",
        unit="ratio",
        help="Time of a call, divided by the time of a call of the anchor.",
        value=_drift,
        bounds="end of the confidence interval",
        slug="drift-ratio",
    ),
    *map(_metric, QUANTITIES),
    Metric(
        name="max_abs_error",
        unit="",
        help="Largest absolute error of the first comparison of outputs.",
        value=_error,
    ),
    Metric(
        name="tasks",
        unit="",
        help="Number of tuning tasks of the model.",
        # A model that couldn't be opened has no tasks, which isn't known to be none.
        value=lambda result: _value(len(result.tasks) if result.artifact else None),
    ),
    Metric(
        name="tuned_tasks",
        unit="",
        help="Number of tuning tasks whose fastest kernel is known.",
        value=lambda result: _value(result.tuned_tasks if result.artifact else None),
    ),
)
