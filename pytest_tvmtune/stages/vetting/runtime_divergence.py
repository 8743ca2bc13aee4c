"""Stage of `tvmtune vet`: the first call that computes other values under another runtime.

The library, its inputs, and its parameters are the same. So the calls are the same, too, and the
first call whose tensors differ has been given equal values.
"""

from __future__ import annotations

from pathlib import Path

from pytest_tvmtune.core.error_text import cause_of
from pytest_tvmtune.core.errors import TvmTuneError
from pytest_tvmtune.core.job_stage import JobStage
from pytest_tvmtune.relax.turns.library_side import LibrarySide, Watched, WatchRequest
from pytest_tvmtune.stages.latency.turns import opened_sides
from pytest_tvmtune.stages.vetting.paired_case import PairedCase, VettedSides
from pytest_tvmtune.stages.vetting.side_comparison import side_process

_MOST_CALLS = 100_000
_WATCHING = JobStage("looking for the first call that computes other values")
_SAME_LIBRARY = "the library is the same, so the runtime or a function that it calls has changed"


def runtime_divergence(pair: PairedCase, sides: VettedSides, folder: Path) -> str:
    """Return a sentence on the first call whose tensors differ, bit by bit, between the runtimes.

    Args:
        pair: The case.
        sides: Its sides; the old library runs under both runtimes.
        folder: For files.
    """
    old, mixed = (
        side_process(side, folder / f"watched-{number}", pair.new)
        for number, side in enumerate((sides.old, sides.mixed))
    )
    try:
        with opened_sides((old, mixed)) as opened:
            one, other = (
                process.ask(LibrarySide.watch, WatchRequest(most_calls=_MOST_CALLS), _WATCHING)
                for process in opened.processes
            )
    except TvmTuneError as error:
        return f"the first call that differs could not be found: {cause_of(error)}"
    return f"{first_difference(one, other)}; {_SAME_LIBRARY}"


def first_difference(one: Watched, other: Watched) -> str:
    """Return the first call that differs, in words."""
    for number, (before, now) in enumerate(zip(one.calls, other.calls, strict=False), 1):
        if before.name != now.name:
            return (
                f"call {number} is {before.name} under the old runtime and {now.name} under the new"
            )
        if before.digest != now.digest:
            return f"first call with other values: {now.name}, call {number} of {len(other.calls)}"
    if len(one.calls) != len(other.calls):
        return f"{len(one.calls)} calls under the old runtime and {len(other.calls)} under the new"
    return f"no call differs: {len(one.calls)} were compared, bit by bit"
