"""First candidates of a task: schedules that were fast for similar workloads.

Two kinds of workloads are similar. One has the same blocks with other extents: its schedules are
applied with tiles rounded to divisors. The other has the same anchor block and another epilogue:
its schedules are applied by MetaSchedule. All are measured like any other candidate.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tvm.ir import IRModule
    from tvm.s_tir import Schedule
    from tvm.s_tir.meta_schedule import TuneContext

# How many schedules are applied at most: each takes some milliseconds.
MOST_ATTEMPTS = 16
# The second best of the most similar workload is often better than the best of another.
SCHEDULES_EACH = 2
_TILES = "SamplePerfectTile"


@dataclass(frozen=True, kw_only=True)
class Blocks:
    """The blocks of a workload.

    kinds: the name of each, and the types of its axes. extents: of all loops around them.
    """

    kinds: tuple[tuple[str, tuple[int, ...]], ...]
    extents: tuple[int, ...]


@dataclass(frozen=True, kw_only=True, eq=False)
class Donor:
    """A workload with schedules. traces: those of the fastest, the best first."""

    mod: IRModule
    blocks: Blocks
    traces: tuple[Any, ...]


def blocks_of(mod: IRModule) -> Blocks:
    """Return the blocks of a workload.

    Raises:
        TypeError: An extent isn't known before a call.
    """
    found = list(_blocks(mod["main"].body.block.body, ()))
    return Blocks(
        kinds=tuple((name, axes) for name, axes, _ in found),
        extents=tuple(extent for _, _, extents in found for extent in extents),
    )


def _blocks(
    statement: Any, extents: tuple[int, ...]
) -> Iterator[tuple[str, tuple[int, ...], tuple[int, ...]]]:
    """Yield the name of each block below a statement, its axes' types, and its loops' extents."""
    if hasattr(statement, "seq"):
        for part in statement.seq:
            yield from _blocks(part, extents)
    elif hasattr(statement, "loop_var"):
        yield from _blocks(statement.body, (*extents, int(statement.extent)))
    elif (block := getattr(statement, "block", None)) is not None:
        axes = tuple(int(axis.iter_type) for axis in block.iter_vars)
        yield str(block.name_hint), axes, extents


def transferred(context: TuneContext, donors: Sequence[Donor], seed: int) -> Iterator[Schedule]:
    """Yield schedules of a task that come from similar workloads, the most similar first.

    A schedule that doesn't apply is left out.

    Args:
        context: The task's, with the postprocessors that its candidates go through.
        donors: Workloads with schedules for the same target.
        seed: For new samples in a schedule, 1 or more.
    """
    own = blocks_of(context.mod)
    # The most similar workload's best, its second, then those of the next.
    attempts = (
        (apply, trace)
        for donor, apply in _similar(context.mod, own, donors)
        for trace in donor.traces[:SCHEDULES_EACH]
    )
    for apply, trace in islice(attempts, MOST_ATTEMPTS):
        if (schedule := _applied(context, apply, trace, seed)) is not None:
            yield schedule


_Apply = Callable[["Schedule", Any, "TuneContext"], None]


def _similar(mod: IRModule, own: Blocks, donors: Sequence[Donor]) -> Iterator[tuple[Donor, _Apply]]:
    same = [one for one in donors if one.blocks.kinds == own.kinds]
    others = [one for one in donors if one.blocks.kinds != own.kinds]
    for one in _with_same_anchor(mod, others):
        yield one, _apply_to_anchor
    for one in sorted(same, key=lambda one: _distance(one.blocks.extents, own.extents)):
        yield one, _apply_rounded


def _distance(extents: Sequence[int], others: Sequence[int]) -> float:
    if len(extents) != len(others):
        return math.inf
    pairs = zip(extents, others, strict=True)
    return sum(abs(math.log(max(1, a) / max(1, b))) for a, b in pairs)


def _with_same_anchor(mod: IRModule, donors: Sequence[Donor]) -> list[Donor]:
    from tvm.s_tir.meta_schedule.database import MemoryDatabase

    equal = MemoryDatabase(module_equality="anchor-block")
    equal.commit_workload(mod)
    return [one for one in donors if equal.has_workload(one.mod)]


def _applied(context: TuneContext, apply: _Apply, trace: Any, seed: int) -> Schedule | None:
    """Return the schedule that a trace makes of a task, None where it doesn't apply."""
    from tvm.s_tir import Schedule

    schedule = Schedule(context.mod, seed=seed, error_render_level="none")
    try:
        apply(schedule, trace, context)
        fits = all(post.apply(schedule) for post in context.space_generator.postprocs)
    except (OSError, MemoryError):
        raise  # the machine's, and not the trace's
    except Exception:  # noqa: BLE001  TVM raises several types where a trace doesn't apply
        return None
    return schedule if fits else None


def _apply_to_anchor(schedule: Schedule, trace: Any, context: TuneContext) -> None:
    from tvm.s_tir.meta_schedule.trace_apply import schedule_using_anchor_trace

    schedule_using_anchor_trace(schedule, trace.simplified(True), context.target)


def _apply_rounded(schedule: Schedule, trace: Any, _: TuneContext) -> None:
    def decide(instruction: Any, inputs: Any, attrs: Any, decision: Any) -> Any:
        if decision is None or str(instruction.kind.name) != _TILES:
            return decision
        extent = int(schedule.get(inputs[0]).extent)
        return rounded_tiles([int(one) for one in decision], extent, int(attrs[1]))

    trace.apply_to_schedule(schedule, remove_postproc=True, decision_provider=decide)


def rounded_tiles(tiles: Sequence[int], extent: int, max_innermost: int) -> list[int]:
    """Return tiles of a loop that are close to those of another loop, and divide it.

    The inner tiles decide the use of caches and vectors, so the outermost tile takes the rest.

    Args:
        tiles: The extents of the other loop's tiles, the outermost first.
        extent: Of the loop.
        max_innermost: The largest innermost tile.

    Returns:
        As many tiles, whose product is `extent`.
    """
    rounded: list[int] = []
    left = extent
    for tile in reversed(tiles[1:]):
        most = left if rounded else max(1, max_innermost)
        divisors = (one for one in _divisors(left) if one <= most)
        rounded.append(min(divisors, key=lambda one: (abs(math.log(one / tile)), one)))
        left //= rounded[-1]
    return [left, *reversed(rounded)]


def _divisors(number: int) -> Iterator[int]:
    for one in range(1, math.isqrt(number) + 1):
        if number % one == 0:
            yield from {one, number // one}
