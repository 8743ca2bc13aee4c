"""Plots: where points come to lie, and which ticks stand beside them."""

from __future__ import annotations

import math
import re
from dataclasses import replace
from typing import cast
from xml.etree import ElementTree as ET

import pytest

from pytest_tvmtune.core.results.case_result import CaseResult
from pytest_tvmtune.core.results.latency_result import LatencyResult
from pytest_tvmtune.core.tuning.tuning_curve import TuningPoint
from pytest_tvmtune.report import case_plots, svg
from tests.support.sample_report import sample_case

TIMED = cast("LatencyResult", sample_case(1).latency)
BARE = LatencyResult(verdict="NEW", message="")


def paths(chart: str | None, css: str) -> list[list[tuple[float, float]]]:
    """Return the points of each path of a class, in pixels."""
    assert chart is not None
    found = [one for one in ET.fromstring(chart).iter("path") if one.get("class") == css]
    number = r"(-?[\d.]+)"
    return [
        [(float(x), float(y)) for x, y in re.findall(f"[ML]{number} {number}", str(one.get("d")))]
        for one in found
    ]


def texts(chart: str | None, css: str) -> list[str]:
    assert chart is not None
    return [str(one.text) for one in ET.fromstring(chart).iter("text") if one.get("class") == css]


@pytest.mark.parametrize(
    ("low", "high", "found"),
    [
        (0, 10, [0, 2, 4, 6, 8, 10]),
        (0.97, 1.06, [0.98, 1.0, 1.02, 1.04, 1.06]),
        (1, 20, [5, 10, 15, 20]),
        (3, 3, [3]),
    ],
)
def test_ticks_are_round_and_within(low: float, high: float, found: list[float]) -> None:
    assert svg.ticks(low, high) == pytest.approx(found)


def test_ticks_of_a_logarithmic_axis() -> None:
    assert svg.log_ticks(1e-5, 2e-2) == pytest.approx([1e-5, 1e-4, 1e-3, 1e-2])
    assert svg.log_ticks(1e-3, 2.5e-2) == pytest.approx([1e-3, 3e-3, 1e-2])
    near = svg.log_ticks(1.05e-3, 1.2e-3)
    assert len(near) >= 3
    assert all(1.05e-3 <= tick <= 1.2e-3 for tick in near)


def test_numbers_beside_an_axis_have_the_same_digits() -> None:
    assert list(map(svg.same_digits([0.98, 1.0, 1.02]), [0.98, 1.0])) == ["0.98", "1.00"]
    assert svg.same_digits([5, 10])(10) == "10"


def test_what_is_beyond_a_scale_is_drawn_at_its_end() -> None:
    scale = svg.across(1, 2)
    assert (scale(1), scale(2)) == (svg.LEFT, svg.RIGHT)
    assert (scale(0), scale(9)) == (svg.LEFT, svg.RIGHT)
    assert svg.across(1, 100, log=True)(10) == pytest.approx((svg.LEFT + svg.RIGHT) / 2, abs=0.1)


def test_slower_epochs_lie_higher_above_the_limit() -> None:
    chart = case_plots.ratio_plot(TIMED)
    (one,), limits, (dots,) = paths(chart, "one"), paths(chart, "limit"), paths(chart, "dots")
    upper, lower = sorted(line[0][1] for line in limits)
    assert upper < one[0][1] < lower
    # Upward is smaller: all epochs of a regression of 18 % are above 3 %.
    assert len(dots) == TIMED.epochs
    assert all(y < upper for _, y in dots)
    assert case_plots.ratio_plot(BARE) is None
    far = replace(TIMED, epoch_ratios=(0.1, 1.0, 10.0), slowdown_ratio=1.0, interval=(0.1, 10.0))
    (dots,) = paths(case_plots.ratio_plot(far), "dots")
    # Ten times slower is as far from the middle as ten times faster.
    assert dots[0][1] - dots[1][1] == pytest.approx(dots[1][1] - dots[2][1], abs=0.3)


def test_the_sides_of_the_latencies_have_their_medians_apart() -> None:
    chart = case_plots.latency_plot(TIMED)
    (now,), (before,) = paths(chart, "now-line"), paths(chart, "before-line")
    assert now[0][0] > before[0][0]
    assert texts(chart, "label middle") == ["latency of a call, ms"]
    alone = replace(TIMED, baseline_samples_s=(), baseline_median_s=None)
    assert paths(case_plots.latency_plot(alone), "before-line") == []
    assert case_plots.latency_plot(BARE) is None


def test_one_interrupted_sample_does_not_squeeze_the_others() -> None:
    slow = replace(TIMED, samples_s=(*TIMED.samples_s, 1.0))
    assert case_plots.latency_plot(slow) is not None
    (now,) = paths(case_plots.latency_plot(slow), "now-line")
    assert svg.LEFT + 50 < now[0][0] < svg.RIGHT - 20


def test_tuning_falls_from_left_to_right() -> None:
    result = sample_case(0)
    chart = case_plots.tuning_plot(result)
    assert len(paths(chart, "task")) == len({point.task for point in result.tuning_curve})
    assert len(paths(chart, "together")) == 1
    heights = [y for _, y in paths(chart, "task-dots")[0]]
    assert heights == sorted(heights)
    assert texts(chart, "label middle") == ["trial"]
    assert case_plots.tuning_plot(sample_case(1)) is None


def test_a_curve_of_a_single_point() -> None:
    result = sample_case(0)
    result.tuning_curve = [TuningPoint(trial=1, task="<a>", best_s=1e-3)]
    chart = case_plots.tuning_plot(result)
    assert paths(chart, "together") == []
    assert "&lt;a&gt;: 1 ms" in str(chart)


def test_marks_of_a_table_share_a_scale_of_at_most_twofold() -> None:
    def case(ratio: float) -> CaseResult:
        return replace(sample_case(1), latency=replace(TIMED, slowdown_ratio=ratio))

    near = case_plots.mark_scale([case(1.001), case(0.999)])
    assert near.high == pytest.approx(1.06)
    far = case_plots.mark_scale([case(30.0)])
    assert far.low == pytest.approx(0.5)
    assert far.high == pytest.approx(2.0)
    assert far(1.0) == pytest.approx(55)
    (dot,) = paths(case_plots.interval_mark(case(30.0).latency, far), "ratio")
    assert dot == [(105.0, 10.0)]
    assert case_plots.interval_mark(BARE, far) is None
    assert math.isclose(case_plots.mark_scale([]).high, 1.06)
