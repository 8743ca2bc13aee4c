"""Sizes, numbers, and durations of a case and of its baseline, in words."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from pytest_tvmtune.core.results.case_result import CaseResult
from pytest_tvmtune.report.text_tables import format_bytes, format_seconds

_UNKNOWN = "not known"
# It is measured for a baseline only if there is a limit.
_PEAK_MEMORY = "peak memory"


class Quantity(NamedTuple):
    """A quantity in words. before: of the baseline, "" where nothing was compared."""

    what: str
    now: str
    before: str


def quantities_of(result: CaseResult) -> list[Quantity]:
    """Return the quantities of a case with a library; a value that isn't known is named so."""
    if not result.artifact:
        return []
    rows: tuple[tuple[str, float | None, float | None, Callable[[Any], str]], ...] = (
        ("library", result.library_bytes, result.baseline_library_bytes, format_bytes),
        ("workspace memory", result.workspace_bytes, result.baseline_workspace_bytes, format_bytes),
        ("kernels in a call", result.kernel_calls, result.baseline_kernel_calls, str),
        ("compiled in", result.library_compile_s, result.baseline_compile_s, format_seconds),
    )
    if result.peak_memory_bytes is not None or result.baseline_peak_memory_bytes is not None:
        now, before = result.peak_memory_bytes, result.baseline_peak_memory_bytes
        rows += ((_PEAK_MEMORY, now, before, format_bytes),)
    if result.trial_s is not None:
        rows += (("tuning trial", result.trial_s, result.baseline_trial_s, format_seconds),)
    compared = result.baseline_library_bytes is not None
    unknown = {what: "" if what == _PEAK_MEMORY or not compared else _UNKNOWN for what, *_ in rows}
    return [
        Quantity(
            what,
            _UNKNOWN if now is None else words(now),
            unknown[what] if before is None else words(before),
        )
        for what, now, before, words in rows
    ]


def quantity_words(quantity: Quantity) -> str:
    """Return a quantity as a part of a line."""
    before = f" (baseline {quantity.before})" if quantity.before else ""
    return f"{quantity.what} {quantity.now}{before}"
