"""The plots of a case: the gate's ratios, the distribution of latencies, and tuning."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from statistics import median

from markupsafe import Markup

from pytest_tvmtune.core.results.case_result import CaseResult
from pytest_tvmtune.core.results.latency_result import LatencyResult
from pytest_tvmtune.core.tuning.tuning_curve import TuningPoint
from pytest_tvmtune.report import svg
from pytest_tvmtune.report.text_tables import format_seconds

_BINS = 40
# Beyond these quantiles, a plot would mostly show the few calls that were interrupted.
_LEAST, _MOST = 0.005, 0.98
_MOST_TASKS = 30


def quantile(values: Sequence[float], share: float) -> float:
    """Return the element of `values` that is closest to a quantile."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, round(share * (len(ordered) - 1)))]


def ratio_plot(latency: LatencyResult) -> Markup | None:
    """Return the epochs' ratios with interval and threshold; None if there are none."""
    ratios = latency.epoch_ratios
    if not ratios:
        return None
    limits = [latency.limit_ratio, 1 / latency.limit_ratio] if latency.limit_ratio else []
    shown = [
        1.0,
        quantile(ratios, 0.02),
        quantile(ratios, 0.98),
        *limits,
        *(latency.interval or ()),
    ]
    shown = [value for value in shown if value > 0 and math.isfinite(value)]
    least, greatest = min(shown), max(shown)
    # Readers see a range of 2 % as differences, and a range of 200 % as ratios.
    log = greatest > 2 * least
    pad = 0.08 * (math.log(greatest / least) or 0.12)
    y = svg.upward(least * math.exp(-pad), greatest * math.exp(pad), log=log)
    x = svg.across(0, len(ratios) + 1)
    body = []
    if latency.interval is not None:
        low, high = (y(end) for end in latency.interval)
        body.append(svg.rect("interval", svg.LEFT, high, svg.RIGHT - svg.LEFT, low - high))
    body.append(svg.line("one", svg.LEFT, y(1), svg.RIGHT, y(1)))
    body += [svg.line("limit", svg.LEFT, y(one), svg.RIGHT, y(one)) for one in limits]
    if latency.slowdown_ratio:
        middle = y(latency.slowdown_ratio)
        body.append(svg.line("middle-line", svg.LEFT, middle, svg.RIGHT, middle))
    body.append(svg.dots("dots", [(x(n), y(one)) for n, one in enumerate(ratios, start=1)]))
    ratio_ticks = (svg.log_ticks if log else svg.ticks)(y.low, y.high)
    whole = [tick for tick in svg.ticks(1, len(ratios)) if tick == int(tick)]
    axes = svg.axes(
        x=x,
        y=y,
        x_ticks=whole,
        y_ticks=ratio_ticks,
        x_format=svg.same_digits(whole),
        y_format=svg.same_digits(ratio_ticks),
        x_label="epoch",
    )
    return svg.chart([*axes, *body], title="slowdown ratio of each epoch")


def latency_plot(latency: LatencyResult) -> Markup | None:
    """Return the distribution of the samples, now upward and the baseline downward."""
    now, before = latency.samples_s, latency.baseline_samples_s
    if not now:
        return None
    marks = [median(now), median(before)] if before else [median(now)]
    if not before and latency.baseline_median_s:
        marks.append(latency.baseline_median_s)
    low = min(quantile(now, _LEAST), *marks, *([quantile(before, _LEAST)] if before else []))
    high = max(quantile(now, _MOST), *marks, *([quantile(before, _MOST)] if before else []))
    pad = 0.06 * (high - low) or 0.01 * high
    x = svg.across(max(low - pad, 0.0), high + pad)
    shares = [_shares(side, x) for side in (now, before) if side]
    y = svg.Scale(
        low=-1.0 if before else 0.0,
        high=1.0,
        start=svg.BOTTOM,
        end=svg.TOP,
    )
    most = max(max(side) for side in shares)
    body = [_histogram("now", shares[0], x, lambda share: y(0.92 * share / most), y(0))]
    if before:
        below = _histogram("before", shares[1], x, lambda share: y(-0.92 * share / most), y(0))
        body.append(below)
    body.append(svg.line("one", svg.LEFT, y(0), svg.RIGHT, y(0)))
    body.append(svg.line("now-line", x(marks[0]), svg.TOP, x(marks[0]), y(0)))
    if len(marks) > 1:
        start = y(0) if before else svg.TOP
        body.append(svg.line("before-line", x(marks[1]), start, x(marks[1]), svg.BOTTOM))
    unit, factor = next(
        ((u, f) for u, f in (("s", 1.0), ("ms", 1e3), ("us", 1e6)) if x.high * f >= 1),
        ("ns", 1e9),
    )
    in_unit = svg.ticks(x.low * factor, x.high * factor)
    words = svg.same_digits(in_unit)
    axes = svg.axes(
        x=x,
        y=None,
        x_ticks=[tick / factor for tick in in_unit],
        x_format=lambda value: words(value * factor),
        x_label=f"latency of a call, {unit}",
    )
    return svg.chart([*axes, *body], title="distribution of the latency samples")


def _shares(values: Sequence[float], x: svg.Scale) -> list[float]:
    """Return the share of the values in each bin; the end bins include values beyond them."""
    counts = [0] * _BINS
    for value in values:
        place = (value - x.low) / (x.high - x.low) * _BINS
        counts[min(max(int(place), 0), _BINS - 1)] += 1
    return [count / len(values) for count in counts]


def _histogram(
    css: str, shares: Sequence[float], x: svg.Scale, y: Callable[[float], float], base: float
) -> str:
    width = (x.end - x.start) / _BINS
    bars = "".join(f"V{y(share):g}h{width:.4g}" for share in shares)
    return f'<path class="hist {css}" d="M{x.start:g} {base:g}{bars}V{base:g}z"/>'


def tuning_plot(result: CaseResult) -> Markup | None:
    """Return the best latency by trial, of each task and of all tasks together."""
    curve = result.tuning_curve
    if not curve:
        return None
    of_task: dict[str, list[TuningPoint]] = {}
    for point in curve:
        of_task.setdefault(point.task, []).append(point)
    weights = {task.name: task.weight for task in result.tasks}
    slowest = sorted(of_task, key=lambda name: -weights.get(name, 1) * of_task[name][-1].best_s)
    together = [(point.trial, point.together_s) for point in curve if point.together_s is not None]
    lines = {name: [(p.trial, p.best_s) for p in of_task[name]] for name in slowest[:_MOST_TASKS]}
    every = [value for points in (*lines.values(), together) for _, value in points if value > 0]
    x = svg.across(0, max(result.trials_spent, curve[-1].trial, 1))
    y = svg.upward(min(every) / 1.2, max(every) * 1.2, log=True)

    def placed(points: Sequence[tuple[int, float]]) -> list[tuple[float, float]]:
        return [(x(trial), y(value)) for trial, value in points]

    body = [
        svg.steps(
            "task", placed(points), end=svg.RIGHT, title=f"{name}: {format_seconds(points[-1][1])}"
        )
        for name, points in lines.items()
    ]
    body += [svg.dots("task-dots", placed(points)) for points in lines.values()]
    if together:
        words = f"all tasks together: {format_seconds(together[-1][1])}"
        body.append(svg.steps("together", placed(together), end=svg.RIGHT, title=words))
    axes = svg.axes(
        x=x,
        y=y,
        x_ticks=[tick for tick in svg.ticks(0, x.high) if tick == int(tick)],
        y_ticks=svg.log_ticks(y.low, y.high),
        x_format=lambda value: f"{value:.0f}",
        y_format=format_seconds,
        x_label="trial",
    )
    return svg.chart([*axes, *body], title="best latency by trial")


def interval_mark(latency: LatencyResult | None, x: svg.Scale) -> Markup | None:
    """Return a small mark for a table: the ratio and its interval, with 1 and the limit."""
    if latency is None or not latency.slowdown_ratio:
        return None
    body = [svg.line("one", x(1), 1, x(1), 19)]
    if latency.limit_ratio:
        body.append(svg.line("limit", x(latency.limit_ratio), 3, x(latency.limit_ratio), 17))
    if latency.interval is not None:
        low, high = latency.interval
        body.append(svg.line("range", x(low), 10, x(high), 10))
    body.append(svg.dots("ratio", [(x(latency.slowdown_ratio), 10.0)]))
    inside = "".join(body)
    return Markup('<svg class="mark" viewBox="0 0 110 20" aria-hidden="true">{}</svg>').format(
        Markup(inside)  # noqa: S704  numbers only
    )


def mark_scale(results: Sequence[CaseResult]) -> svg.Scale:
    """Return the scale that the marks of a table share. It ends at the largest ratio, or at 2x."""
    ratios = [r.latency.slowdown_ratio for r in results if r.latency and r.latency.slowdown_ratio]
    reach = max([abs(math.log(ratio)) for ratio in ratios], default=0.0)
    reach = min(max(1.15 * reach, math.log(1.06)), math.log(2))
    return svg.Scale(low=math.exp(-reach), high=math.exp(reach), start=5, end=105, log=True)
