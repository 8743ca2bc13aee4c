"""Separating a slower runtime from slower generated code, and other numbers in the same way."""

from __future__ import annotations

from collections.abc import Sequence

from pytest_tvmtune.core.vetting.vet_report import ComparedSides, SidesComparison, SlowerPart


def slower_part_of(comparisons: Sequence[SidesComparison]) -> SlowerPart:
    """Return the part that is slower in the new environment.

    The old library under both runtimes differs in nothing but the runtime, and both libraries under
    the new runtime differ in nothing but the generated code. So each part has a decision, and
    the ratio of the whole is about the product of both ratios. A part that is slower counts even if
    the other part makes up for it.
    """
    by_sides = {one.sides: one for one in comparisons}
    return _part(
        runtime=_is_slower(by_sides, "runtime"),
        code=_is_slower(by_sides, "generated code"),
        whole=_is_slower(by_sides, "old and new"),
    )


def differing_part_of(comparisons: Sequence[SidesComparison]) -> SlowerPart:
    """Return the part that changes the numbers, as `slower_part_of` does for the time."""
    by_sides = {one.sides: one for one in comparisons}
    runtime, code, whole = (
        sides in by_sides and by_sides[sides].differs
        for sides in ("runtime", "generated code", "old and new")
    )
    return _part(runtime=runtime, code=code, whole=whole)


def _part(*, runtime: bool, code: bool, whole: bool) -> SlowerPart:
    if runtime and code:
        return "both"
    if runtime:
        return "runtime"
    if code:
        return "generated code"
    return "not separated" if whole else ""


def _is_slower(by_sides: dict[ComparedSides, SidesComparison], sides: ComparedSides) -> bool:
    return sides in by_sides and by_sides[sides].is_slower
