"""The quantities of a case that dashboards show, with their units."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import quantiles
from typing import Literal

from pytest_tvmtune.core.results.case_result import CaseResult
from pytest_tvmtune.core.results.latency_result import LatencyResult

Unit = Literal["seconds", "bytes", "ratio", ""]
Bounds = tuple[float, float]


@dataclass(frozen=True, kw_only=True)
class Value:
    """A finite number, and the bounds around it if they are known."""

    value: float
    bounds: Bounds | None = None


@dataclass(frozen=True, kw_only=True)
class Quantity:
    """A quantity of a case. value: None if it isn't known.

    name: words with `_`, without the unit. bounds: what the bounds of a value mean, "" without any.
    """

    name: str
    unit: Unit
    help: str
    value: Callable[[CaseResult], Value | None]
    bounds: str = ""


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
    if latency is None:
        return None
    if latency.same_code:
        # It's as fast as itself, though nothing was measured.
        return Value(value=1.0)
    return _value(latency.slowdown_ratio, latency.interval)


def _value(value: float | None, bounds: Sequence[float] | None = None) -> Value | None:
    if value is None or not math.isfinite(value):
        return None
    known = bounds is not None and all(map(math.isfinite, bounds))
    return Value(value=value, bounds=(bounds[0], bounds[1]) if bounds and known else None)


def _error(result: CaseResult) -> Value | None:
    return _value(result.reference_error.max_abs_error) if result.reference_error else None


QUANTITIES: tuple[Quantity, ...] = (
    Quantity(
        name="latency",
        unit="seconds",
        help="Median time of a call.",
        value=_latency,
        bounds="quartile of the calls",
    ),
    Quantity(
        name="baseline_latency",
        unit="seconds",
        help="Median time of a call of the baseline.",
        value=_baseline_latency,
    ),
    Quantity(
        name="slowdown",
        unit="ratio",
        help="Time of a call, divided by the time of a call of the baseline.",
        value=_slowdown,
        bounds="end of the confidence interval",
    ),
    Quantity(
        name="slowdown_limit",
        unit="ratio",
        help="Slowdown that fails the test.",
        value=_limit,
    ),
    Quantity(
        name="drift",
        unit="ratio",
        help="Time of a call, divided by the time of a call of the anchor.",
        value=_drift,
        bounds="end of the confidence interval",
    ),
    Quantity(
        name="library",
        unit="bytes",
        help="Size of the library.",
        # Without a library, its size is 0.
        value=lambda result: _value(result.library_bytes or None),
    ),
    Quantity(
        name="workspace",
        unit="bytes",
        help="Memory of a call for tensors between kernels, and for outputs.",
        value=lambda result: _value(result.workspace_bytes),
    ),
    Quantity(
        name="peak_memory",
        unit="bytes",
        help="Resident memory of loading the library and of a call.",
        value=lambda result: _value(result.peak_memory_bytes),
    ),
    Quantity(
        name="kernel_calls",
        unit="",
        help="Number of kernels in a call.",
        value=lambda result: _value(result.kernel_calls),
    ),
    Quantity(
        name="tuning",
        unit="seconds",
        help="Time of tuning in this run.",
        value=lambda result: _value(result.tuning_s if result.tuned_now else None),
    ),
    Quantity(
        name="compile",
        unit="seconds",
        help="Time of compiling in this run.",
        value=lambda result: _value(result.compile_s if result.compiled_now else None),
    ),
    Quantity(
        name="max_abs_error",
        unit="",
        help="Largest absolute error of the first comparison of outputs.",
        value=_error,
    ),
    Quantity(
        name="tasks",
        unit="",
        help="Number of tuning tasks of the model.",
        # A model that couldn't be opened has no tasks, which isn't known to be none.
        value=lambda result: _value(len(result.tasks) if result.artifact else None),
    ),
    Quantity(
        name="tuned_tasks",
        unit="",
        help="Number of tuning tasks whose fastest kernel is known.",
        value=lambda result: _value(result.tuned_tasks if result.artifact else None),
    ),
)
