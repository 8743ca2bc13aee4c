"""Sizes, numbers, and durations of a case and of its baseline, in words."""

from __future__ import annotations

from typing import NamedTuple

from pytest_tvmtune.core.results.case_quantities import QUANTITIES, Unit
from pytest_tvmtune.core.results.case_result import CaseResult
from pytest_tvmtune.report.text_tables import format_quantity

_UNKNOWN = "not known"


class QuantityWords(NamedTuple):
    """A quantity in words. before: of the baseline, "" where nothing was compared."""

    what: str
    now: str
    before: str


def quantities_of(result: CaseResult) -> list[QuantityWords]:
    """Return the quantities of a case with a library; a value that isn't known is named so."""
    if not result.artifact:
        return []
    compared = result.baseline_library_bytes is not None
    return [
        QuantityWords(
            one.what,
            _words(one.now(result), one.unit, _UNKNOWN),
            # Those that aren't always found out are often lacking in the baseline.
            _words(one.before(result), one.unit, _UNKNOWN if compared and not one.wanted else ""),
        )
        for one in QUANTITIES
        if not one.wanted or getattr(result, one.wanted) or one.now(result) is not None
    ]


def quantity_words(quantity: QuantityWords) -> str:
    """Return a quantity as a part of a line."""
    before = f" (baseline {quantity.before})" if quantity.before else ""
    return f"{quantity.what} {quantity.now}{before}"


def _words(value: float | None, unit: Unit, unknown: str) -> str:
    return unknown if value is None else format_quantity(value, unit)
