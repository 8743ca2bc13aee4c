"""The roofline: where roofs and kernels are, in pixels."""

from __future__ import annotations

from dataclasses import replace
from typing import cast

import pytest

from pytest_tvmtune.core.kernels.kernel_table import KernelTable, KernelTime
from pytest_tvmtune.report import svg
from pytest_tvmtune.report.roofline_plot import roofline_plot
from tests.report.test_plots import paths, texts
from tests.support.sample_report import PEAK


def kernel(name: str, *, flop: int | None, traffic_bytes: int | None, now_s: float) -> KernelTime:
    return KernelTime(
        name=name, calls=1, now_s=now_s, share=0.5, flop=flop, traffic_bytes=traffic_bytes
    )


def table(*rows: KernelTime) -> KernelTable:
    return KernelTable(rows=rows, end_to_end_s=1e-3, overhead_s=0.0, peak=PEAK)


def test_a_kernel_at_the_peak_is_on_the_roof_and_others_are_below() -> None:
    # 300 GFLOP/s, and 20 GB/s of memory.
    fastest = kernel("fastest", flop=3_000_000, traffic_bytes=30_000, now_s=1e-5)
    half = replace(fastest, name="half", now_s=2e-5)
    streams = kernel("streams", flop=200_000, traffic_bytes=200_000, now_s=1e-5)
    chart = roofline_plot(table(fastest, half, streams))
    (roof,), dots = paths(chart, "roof")[:1], paths(chart, "kernel-dot")
    half_dot, fastest_dot, streams_dot = (dot[0] for dot in dots)
    assert roof[0][1] == roof[1][1] == fastest_dot[1]
    assert roof[1][0] == svg.RIGHT
    assert half_dot[1] > fastest_dot[1]
    assert half_dot[0] == fastest_dot[0]
    # One operation a byte at 20 GB/s: on the slope of memory, whose end is at 15 operations.
    (memory,) = paths(chart, "roof")[1:]
    (x1, y1), (x2, y2) = memory
    on_slope = y1 + (streams_dot[0] - x1) * (y2 - y1) / (x2 - x1)
    assert streams_dot[1] == pytest.approx(on_slope, abs=1.0)
    assert len(paths(chart, "roof faint")) == 2
    assert texts(chart, "roof-name end") == ["300 GFLOP/s"]


def test_what_has_no_place_is_left_out() -> None:
    known = kernel("known", flop=1000, traffic_bytes=1000, now_s=1e-6)
    unknown = kernel("unknown", flop=None, traffic_bytes=1000, now_s=1e-6)
    moves = kernel("moves", flop=0, traffic_bytes=1000, now_s=1e-6)
    assert len(paths(roofline_plot(table(known, unknown, moves)), "kernel-dot")) == 1
    assert roofline_plot(table(unknown, moves)) is None
    assert roofline_plot(replace(table(known), peak=None)) is None
    # Far below the peak, and so slow that its rate is next to nothing.
    slow = kernel("slow", flop=1, traffic_bytes=10**9, now_s=100.0)
    ((dot,),) = paths(roofline_plot(table(slow)), "kernel-dot")
    assert dot[1] <= svg.BOTTOM
    assert cast("str", roofline_plot(table(slow))).count("NaN") == 0
