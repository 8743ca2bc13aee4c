"""Small charts as inline SVG: scales, ticks, and a frame. The page's style has the colors."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from markupsafe import Markup, escape

WIDTH, HEIGHT = 480.0, 240.0
LEFT, RIGHT, TOP, BOTTOM = 58.0, WIDTH - 10.0, 10.0, HEIGHT - 36.0
_FILE_STYLE = (
    ".page { fill: #fff } path { fill: none } .grid { stroke: #ddd } "
    "text { font: 10px sans-serif; fill: #444 } .heading { font-size: 12px; fill: #000 } "
    ".middle { text-anchor: middle } .end { text-anchor: end } "
)
_NICE = (1.0, 2.0, 2.5, 5.0, 10.0)


@dataclass(frozen=True, kw_only=True)
class Scale:
    """A mapping from values to pixels. A value beyond an end is drawn at that end."""

    low: float
    high: float
    start: float
    end: float
    log: bool = False

    def __call__(self, value: float) -> float:
        """Return the pixel of a value, to a tenth."""
        value = min(max(value, self.low), self.high)
        low, high = self.low, self.high
        if self.log:
            value, low, high = math.log(value), math.log(low), math.log(high)
        share = (value - low) / (high - low) if high > low else 0.5
        return round(self.start + share * (self.end - self.start), 1)


def across(low: float, high: float, *, log: bool = False) -> Scale:
    """Return the scale of an x axis."""
    return Scale(low=low, high=high, start=LEFT, end=RIGHT, log=log)


def upward(low: float, high: float, *, log: bool = False) -> Scale:
    """Return the scale of a y axis."""
    return Scale(low=low, high=high, start=BOTTOM, end=TOP, log=log)


def ticks(low: float, high: float, most: int = 6) -> list[float]:
    """Return round numbers within an interval, evenly apart."""
    if not high > low:
        return [low]
    rough = (high - low) / most
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(nice * power for nice in _NICE if nice * power >= rough * (1 - 1e-9))
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [round(number * step, 12) for number in range(first, last + 1)]


def same_digits(values: Sequence[float]) -> Callable[[float], str]:
    """Return a format that writes all of these numbers with as many decimals as they need."""
    decimals = next(
        (n for n in range(9) if all(math.isclose(v, round(v, n), abs_tol=1e-10) for v in values)), 9
    )
    return lambda value: f"{value:.{decimals}f}"


def log_ticks(low: float, high: float) -> list[float]:
    """Return round numbers within an interval, evenly apart on a logarithmic scale."""
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    for steps in ((1.0,), (1.0, 3.0), (1.0, 2.0, 5.0)):
        found = [
            step * 10.0**power
            for power in powers
            for step in steps
            if low <= step * 10.0**power <= high
        ]
        if len(found) >= 3:
            return found
    return ticks(low, high)


def rect(css: str, x: float, y: float, width: float, height: float) -> str:
    """Return a rectangle; css: its class."""
    size = f'width="{max(width, 0):.4g}" height="{max(height, 0):.4g}"'
    return f'<rect class="{css}" x="{x:.4g}" y="{y:.4g}" {size}/>'


def line(css: str, x1: float, y1: float, x2: float, y2: float) -> str:
    """Return a straight line."""
    return f'<path class="{css}" d="M{x1:.4g} {y1:.4g}L{x2:.4g} {y2:.4g}"/>'


def dots(css: str, points: Iterable[tuple[float, float]]) -> str:
    """Return dots as one path: lines of no length with round ends."""
    return f'<path class="{css}" d="{"".join(f"M{x:g} {y:g}h0" for x, y in points)}"/>'


def dot(css: str, x: float, y: float, *, size: float, title: str) -> str:
    """Return a dot of a size in pixels, with a text that pointing at it shows."""
    return (
        f'<path class="{css}" stroke-width="{size:.3g}" d="M{x:g} {y:g}h0">'
        f"<title>{escape(title)}</title></path>"
    )


def steps(css: str, points: Sequence[tuple[float, float]], *, end: float, title: str = "") -> str:
    """Return a step line that keeps each value until the next point, and the last until `end`."""
    path = f"M{points[0][0]:g} {points[0][1]:g}"
    path += "".join(f"H{x:g}V{y:g}" for x, y in points[1:]) + f"H{end:g}"
    inside = f"<title>{escape(title)}</title>" if title else ""
    return f'<path class="{css}" d="{path}">{inside}</path>'


def text(css: str, x: float, y: float, words: str) -> str:
    """Return a line of text."""
    return f'<text class="{css}" x="{x:.4g}" y="{y:.4g}">{escape(words)}</text>'


def axes(
    *,
    x: Scale,
    y: Scale | None,
    x_ticks: Sequence[float],
    y_ticks: Sequence[float] = (),
    x_format: Callable[[float], str],
    y_format: Callable[[float], str] = str,
    x_label: str,
) -> list[str]:
    """Return a chart's grid with its numbers, and the label of the x axis."""
    parts = []
    for value in x_ticks:
        parts.append(line("grid", x(value), TOP, x(value), BOTTOM))
        parts.append(text("tick middle", x(value), BOTTOM + 15, x_format(value)))
    if y is not None:
        for value in y_ticks:
            parts.append(line("grid", LEFT, y(value), RIGHT, y(value)))
            parts.append(text("tick end", LEFT - 6, y(value) + 4, y_format(value)))
    parts.append(text("label middle", (LEFT + RIGHT) / 2, HEIGHT - 4, x_label))
    return parts


def chart(parts: Iterable[str], *, title: str) -> Markup:
    """Return a chart for a page. title: a text for readers who can't see it."""
    return Markup(  # noqa: S704  every text in it was escaped above
        f'<svg class="chart" viewBox="0 0 {WIDTH:g} {HEIGHT:g}" role="img">'
        f"<title>{escape(title)}</title>{''.join(parts)}</svg>"
    )


def chart_file(parts: Iterable[str], *, heading: str, style: str) -> str:
    """Return a chart as a separate file, black on white, with a heading.

    style: CSS for the classes of the parts.
    """
    top = -2 * TOP
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 {top:g} {WIDTH:g} {HEIGHT - top:g}" '
        f'width="{2 * WIDTH:g}"><style>{_FILE_STYLE}{style}</style>'
        f"{rect('page', 0, top, WIDTH, HEIGHT - top)}"
        f"{text('heading middle', WIDTH / 2, -4, heading)}{''.join(parts)}</svg>\n"
    )
