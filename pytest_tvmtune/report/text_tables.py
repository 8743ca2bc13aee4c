"""Plain text tables and quantities, for the terminal and the command line."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import Any

from pytest_tvmtune.core.results.case_quantities import Unit


def table_lines(
    headings: Sequence[str], rows: Sequence[Sequence[str]], *, right: Collection[str] = ()
) -> list[str]:
    """Return the lines of a table. right: headings of the columns that are aligned right."""
    every = [tuple(headings), *map(tuple, rows)]
    widths = [max(len(row[column]) for row in every) for column in range(len(headings))]
    lines = []
    for row in every:
        cells = (
            cell.rjust(width) if heading in right else cell.ljust(width)
            for cell, width, heading in zip(row, widths, headings, strict=True)
        )
        lines.append("  ".join(cells).rstrip())
    return lines


def format_seconds(seconds: float) -> str:
    """Return a duration with a unit that keeps it readable: 12.3 us, 4.56 ms, 1.20 s."""
    for unit, factor in (("s", 1.0), ("ms", 1e3), ("us", 1e6)):
        value = seconds * factor
        if value >= 1 or unit == "us":
            return f"{value:.3g} {unit}" if value < 999.5 else f"{value:.0f} {unit}"
    raise AssertionError("the last unit always fits")


def format_percent(share: float) -> str:
    """Return a share as a percentage with one decimal: 1.2 %."""
    return f"{100 * share:.1f} %"


def format_bytes(size_bytes: int) -> str:
    """Return a size with a decimal unit: 512 B, 12.3 kB, 4.56 MB."""
    value = float(size_bytes)
    for unit in ("B", "kB", "MB", "GB", "TB"):
        if value < 999.5:
            return f"{value:.3g} {unit}"
        value /= 1000
    return f"{value:.0f} PB"


def format_quantity(value: float, unit: Unit) -> str:
    """Return a value with its unit, in words."""
    formats: dict[Unit, Callable[[Any], str]] = {"bytes": format_bytes, "seconds": format_seconds}
    return formats.get(unit, str)(value)
