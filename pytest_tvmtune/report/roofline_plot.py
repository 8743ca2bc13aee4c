"""The roofline of a case: the rate of each kernel's operations by its operations for each byte."""

from __future__ import annotations

import math
from collections.abc import Sequence

from markupsafe import Markup

from pytest_tvmtune.core.kernels.kernel_table import KernelTable, KernelTime
from pytest_tvmtune.core.kernels.roofline import MachinePeak
from pytest_tvmtune.report import svg
from pytest_tvmtune.report.text_tables import format_percent, format_seconds

_MOST_DOTS = 40
_LEAST_SIZE, _MOST_SIZE = 4.0, 14.0
# Of the peak: a kernel below it is drawn there.
_LEAST_RATE = 1e-6


def roofline_plot(table: KernelTable) -> Markup | None:
    """Return the roofline with the slowest kernels; None without a peak, or without a kernel."""
    peak = table.peak
    kernels = [row for row in table.rows if row.flop_per_s and row.bytes_per_s]
    if peak is None or not kernels:
        return None
    kernels = sorted(kernels, key=lambda row: -row.now_s)[:_MOST_DOTS]
    intensities = [_intensity(row) for row in kernels]
    ridges = [peak.flop_per_s / one.bytes_per_s for one in peak.bandwidths]
    x = svg.across(min(*intensities, *ridges) / 2, max(*intensities, *ridges) * 2, log=True)
    rates = [max(row.flop_per_s or 0.0, _LEAST_RATE * peak.flop_per_s) for row in kernels]
    y = svg.upward(min(*rates, peak.flop_per_s / 10) / 2, peak.flop_per_s * 2, log=True)
    longest_s = max(row.now_s for row in kernels)
    body = [*_roofs(peak, x, y)]
    for row, intensity, rate in zip(kernels, intensities, rates, strict=True):
        size = max(_LEAST_SIZE, _MOST_SIZE * math.sqrt(row.now_s / longest_s))
        body.append(svg.dot("kernel-dot", x(intensity), y(rate), size=size, title=_words(row)))
    axes = svg.axes(
        x=x,
        y=y,
        x_ticks=_few(svg.log_ticks(x.low, x.high)),
        y_ticks=_few(svg.log_ticks(y.low, y.high)),
        x_format=lambda value: f"{value:g}",
        y_format=lambda value: f"{value / 1e9:g}",
        x_label="floating-point operations for each byte; upward: GFLOP/s",
    )
    return svg.chart([*axes, *body], title="GFLOP/s of each kernel under the peak of the machine")


def _intensity(row: KernelTime) -> float:
    return (row.flop or 0) / (row.traffic_bytes or 1)


def _roofs(peak: MachinePeak, x: svg.Scale, y: svg.Scale) -> list[str]:
    """Return the line of the peak, and a slope for each bandwidth; that of memory isn't dotted."""
    first = min(peak.flop_per_s / one.bytes_per_s for one in peak.bandwidths)
    top = y(peak.flop_per_s)
    parts = [
        svg.line("roof", x(first), top, svg.RIGHT, top),
        svg.text("roof-name end", svg.RIGHT - 4, top - 5, f"{peak.flop_per_s / 1e9:.3g} GFLOP/s"),
    ]
    for one in peak.bandwidths:
        ridge = peak.flop_per_s / one.bytes_per_s
        # Where it comes into the chart: at its left or at its lower side.
        begin = max(x.low, y.low / one.bytes_per_s)
        css = "roof" if one.capacity_bytes is None else "roof faint"
        parts.append(svg.line(css, x(begin), y(begin * one.bytes_per_s), x(ridge), top))
    return parts


def _few(ticks: Sequence[float], most: int = 7) -> list[float]:
    return list(ticks[:: math.ceil(len(ticks) / most)])


def _words(row: KernelTime) -> str:
    share = row.roof_share
    reached = "" if share is None else f", {format_percent(share)} of the peak ({row.bound})"
    return f"{row.name}: {format_seconds(row.now_s)}{reached}"
