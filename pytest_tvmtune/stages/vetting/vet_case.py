"""Stage of `tvmtune vet`: one case of both environments, from its libraries to its findings."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from pytest_tvmtune.core.vetting.slower_part import slower_part_of
from pytest_tvmtune.core.vetting.vet_report import ComparedSides, SidesComparison, VettedCase
from pytest_tvmtune.stages.vetting.case_findings import explained
from pytest_tvmtune.stages.vetting.paired_case import PairedCase, sides_of
from pytest_tvmtune.stages.vetting.side_comparison import VettedSide, compare_sides


def vetted_case(pair: PairedCase) -> VettedCase:
    """Return a case that hasn't been compared."""
    return VettedCase(
        label=pair.label,
        nodeid=pair.new.nodeid,
        name=pair.new.name,
        schedules=pair.schedules,
        tuned_kernels=pair.new.tuned_kernels,
    )


def vet_case(pair: PairedCase, *, alpha: float, folder: Path) -> VettedCase:
    """Return where a case differs between two environments, and in which part.

    Args:
        pair: The case.
        alpha: Of each decision.
        folder: For files of this case.
    """
    vetted = vetted_case(pair)
    sides = sides_of(pair)
    if isinstance(sides, str):
        words = (f"{pair.label}: {sides}",)
        fails_in_both = pair.old.built is None and pair.new.built is None
        return replace(vetted, notes=words) if fails_in_both else replace(vetted, findings=words)
    comparisons: list[SidesComparison] = []

    def make(what: ComparedSides, one: VettedSide, other: VettedSide) -> None:
        made = compare_sides(what, one, other, alpha=alpha, folder=folder)
        comparisons.append(made)

    make("old and new", sides.old, sides.new)
    whole = comparisons[0]
    if whole.same_code:
        # The only difference is the runtime.
        comparisons.append(replace(whole, sides="runtime"))
    else:
        make("runtime", sides.old, sides.mixed)
        if not comparisons[-1].problem:
            make("generated code", sides.mixed, sides.new)
    vetted = replace(
        vetted,
        comparisons=tuple(comparisons),
        slower_part=slower_part_of(comparisons),
        notes=sides.notes,
    )
    return explained(vetted, pair, sides, folder)
