"""The latency of a case over its runs, as a table, CSV, or a plot."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from itertools import pairwise

from pytest_tvmtune.report import svg
from pytest_tvmtune.report.change_points import Change
from pytest_tvmtune.report.text_tables import format_seconds, table_lines
from pytest_tvmtune.store.run_history import Point, StoredRun

_RUN_HEADINGS = ("run", "at", "revision", "TVM", "cases", "failed", "CPU")
_HEADINGS = ("run", "at", "revision", "TVM", "latency", "ratio", "verdict", "change")
_COLUMNS = ("time", "run", "revision", "tvm", "cpu", "num_threads", "verdict", "slowdown_ratio",
            "artifact", "median_s", "library_bytes")  # fmt: skip
_MOST_LABELS = 12
_PLOT_STYLE = (
    ".level { stroke: #d62728; stroke-width: 2 } "
    ".dots { stroke: #1f77b4; stroke-width: 4; stroke-linecap: round }"
)


def run_lines(runs: Sequence[StoredRun]) -> list[str]:
    """Return the table of all runs."""
    rows = [
        (str(run.run), run.at, run.revision or "-", run.tvm, str(run.cases), str(run.failed),
         run.cpu)
        for run in runs
    ]  # fmt: skip
    return table_lines(_RUN_HEADINGS, rows, right={"run", "cases", "failed"})


def point_lines(points: Sequence[Point], changes: Sequence[Change]) -> list[str]:
    """Return the table of a case's points. changes: change points among the timed points."""
    at = {change.index: change for change in changes}
    timed = {point.run: index for index, point in enumerate(timed_points(points))}
    rows = []
    for point in points:
        change = at.get(timed.get(point.run, -1))
        rows.append(
            (
                str(point.run),
                point.at,
                point.revision or "-",
                point.tvm,
                "-" if point.median_s is None else format_seconds(point.median_s),
                "-" if point.slowdown_ratio is None else f"{point.slowdown_ratio:.3f}",
                point.verdict or point.outcome,
                "" if change is None else change_words(change),
            )
        )
    return table_lines(_HEADINGS, rows, right={"run", "latency", "ratio"})


def change_words(change: Change) -> str:
    """Return `1.20x slower: 1 ms -> 1.2 ms`."""
    ratio = change.ratio
    words = f"{ratio:.2f}x slower" if ratio >= 1 else f"{1 / ratio:.2f}x faster"
    return f"{words}: {format_seconds(change.before)} -> {format_seconds(change.after)}"


def timed_points(points: Sequence[Point]) -> list[Point]:
    """Return the points that have a time."""
    return [point for point in points if point.median_s is not None]


def history_csv(points: Sequence[Point]) -> str:
    """Return a line for each timed point, in the form that Apache Otava's CSV importer reads.

    The metrics `median_s` and `library_bytes` are numbers in every line, as Otava requires.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(_COLUMNS)
    for point in timed_points(points):
        ratio = "" if point.slowdown_ratio is None else point.slowdown_ratio
        writer.writerow(
            (point.at, point.run, point.revision, point.tvm, point.cpu, point.num_threads,
             point.verdict, ratio, point.artifact, point.median_s, point.library_bytes)
        )  # fmt: skip
    return text.getvalue()


def history_svg(title: str, points: Sequence[Point], changes: Sequence[Change]) -> str:
    """Return a self-contained SVG picture of the timed points and their levels."""
    timed = timed_points(points)
    times_s = [point.median_s for point in timed if point.median_s is not None]
    x = svg.across(-0.5, len(times_s) - 0.5)
    y = svg.upward(0.95 * min(times_s), 1.05 * max(times_s))
    bounds = [0, *(change.index for change in changes), len(times_s)]
    levels = [changes[0].before, *(change.after for change in changes)] if changes else []
    parts = svg.axes(
        x=x,
        y=y,
        x_ticks=range(0, len(timed), -(-len(timed) // _MOST_LABELS)),
        y_ticks=svg.ticks(y.low, y.high),
        x_format=lambda index: str(timed[int(index)].run),
        y_format=format_seconds,
        x_label=f"run, from {timed[0].at[:10]} to {timed[-1].at[:10]}",
    )
    for level, (begin, end) in zip(levels, pairwise(bounds), strict=False):
        parts.append(svg.line("level", x(begin - 0.5), y(level), x(end - 0.5), y(level)))
    parts.append(svg.dots("dots", [(x(index), y(value)) for index, value in enumerate(times_s)]))
    return svg.chart_file(parts, heading=title, style=_PLOT_STYLE)
