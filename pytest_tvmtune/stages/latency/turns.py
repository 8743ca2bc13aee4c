"""Two processes, each with its own TVM, that take turns: epochs of interleaved pairs of samples.

It is the latency gate's measurement (relax/measuring/epochs.py) with two differences. Each side is
in a process of its interpreter, which is stopped while it isn't its turn. And both processes are
started anew for every block of epochs, since the place of the runtime's code in memory stays the
same for as long as a process runs.
"""

from __future__ import annotations

import contextlib
import random
import secrets
import shutil
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from pytest_tvmtune.core.gating.confidence_sequence import Epoch, least_epochs
from pytest_tvmtune.core.job_stage import JobStage
from pytest_tvmtune.core.settings.quantities import Threshold
from pytest_tvmtune.processes.resident_process import (
    ResidentContext,
    ResidentProcess,
    start_resident,
)
from pytest_tvmtune.relax.measuring import gate_job
from pytest_tvmtune.relax.measuring.epochs import interleave, pairs_per_epoch, settle
from pytest_tvmtune.relax.measuring.gate_job import Clock, Limit, take_until_decided
from pytest_tvmtune.relax.measuring.param_groups import group_params, places_of
from pytest_tvmtune.relax.measuring.timing import Timer
from pytest_tvmtune.relax.turns.library_side import MOST_LIBRARY_BYTES
from pytest_tvmtune.relax.turns.requests import (
    ArgumentBits,
    EnterRequest,
    Opened,
    OpenRequest,
    PlaceRequest,
    SampleRequest,
    Side,
    Slot,
)

EPOCHS_PER_PROCESS = 8
# Starting two processes takes seconds, so an epoch may last longer than within one process.
_EPOCH_S = 0.2
_MOST_PAIRS = 31
# Most of the time goes into starting processes, so the gate's time is not enough.
_TIMES = 3
_SHARED_MEMORY = Path("/dev/shm")  # noqa: S108  the system's folder of files in memory
_MOST_PADDING = 1 << 14
# Of the addresses of tensors, as TVM's own allocator has it.
_ALIGNMENT = 64
LOADING = JobStage("loading a side of the comparison")
MEASURING = JobStage("measuring in turns")


@dataclass(frozen=True, kw_only=True)
class SideProcess:
    """A side: its class, the process to start, and the file that says what is called.

    library: of a side that runs TVM. outputs: the file to write, if anyone needs them.
    """

    kind: type[Side]
    context: ResidentContext
    call: Path
    library: Path | None = None
    outputs: Path | None = None


@dataclass(frozen=True, kw_only=True, eq=False)
class OpenedSides:
    """Both sides of a comparison, running. num_threads: TVM's, the most of both."""

    processes: tuple[ResidentProcess, ResidentProcess]
    opened: tuple[Opened, Opened]

    @property
    def num_threads(self) -> int:
        """TVM's runtime threads, the most of both sides."""
        return max(one.num_threads for one in self.opened)


@dataclass(frozen=True, kw_only=True, eq=False)
class TakingTurns:
    """As an `Arrangement` of epochs.py: its timers ask the processes."""

    enter: Callable[[], None]
    timers: tuple[Timer, Timer]


@dataclass(frozen=True, kw_only=True)
class MemoryPlan:
    """The places of both sides' arguments in the shared memory. size_bytes: of all of it."""

    size_bytes: int
    fixed: tuple[tuple[Slot, ...], tuple[Slot, ...]]
    traded: tuple[tuple[tuple[Slot, ...], ...], tuple[tuple[Slot, ...], ...]]

    @property
    def arrangements(self) -> int:
        """Two where arguments trade places."""
        return max(1, len(self.traded[0]))


@contextlib.contextmanager
def opened_sides(sides: tuple[SideProcess, SideProcess]) -> Iterator[OpenedSides]:
    """Start both sides at once, and end them with the block, however it ends.

    Raises:
        ChildError: A side crashed, hung, or failed; the message begins with its name.
    """
    with contextlib.ExitStack() as ending:
        started = []
        for side in sides:
            process = start_resident(side.kind, side.context)
            ending.callback(process.end)
            started.append(process)
        for process, side in zip(started, sides, strict=True):
            process.send(Side.open, OpenRequest(call=side.call, outputs=side.outputs), LOADING)
        opened = [process.receive(Side.open) for process in started]
        yield OpenedSides(processes=(started[0], started[1]), opened=(opened[0], opened[1]))


def epochs_in_turns(
    sides: tuple[SideProcess, SideProcess],
    rng: random.Random,
    *,
    memory_folder: Path,
    cold_cache: bool,
) -> Generator[tuple[Epoch, ...], None, None]:
    """Yield epochs of one ratio without end, the first side being the baseline.

    Args:
        sides: What is compared.
        rng: For all that is random.
        memory_folder: For the file that both sides map, if the system has no folder for such files.
        cold_cache: Whether each call has empty caches.

    Raises:
        ChildError: A side crashed, hung, or failed.
    """
    number, pairs = 0, 0
    while True:
        with opened_sides(sides) as opened:
            for _ in range(EPOCHS_PER_PROCESS):
                arrangements = _placed_anew(opened, rng, memory_folder)
                if not number:
                    number, pair_s = settle(arrangements[0], single_calls=cold_cache)
                    pairs = pairs_per_epoch(pair_s, budget_s=_EPOCH_S, most_pairs=_MOST_PAIRS)
                yield interleave(arrangements, rng, number=number, pairs=pairs)


def measure_in_turns(
    sides: tuple[SideProcess, SideProcess],
    *,
    max_time_s: float,
    alpha: float,
    threshold: Threshold,
    cold_cache: bool,
    memory_folder: Path,
) -> gate_job.Result:
    """Return the paired samples of two sides, taken until their ratio is decided.

    The caller holds the machine's cores.

    Args:
        sides: What is compared; the first side is the baseline.
        max_time_s: As in one process: starting processes takes most of the time, so it's three
            times as much here.
        alpha: Of this one decision.
        threshold: What is decided.
        cold_cache: Whether each call has empty caches.
        memory_folder: As in `epochs_in_turns`.

    Raises:
        ChildError: A side crashed, hung, or failed.
    """
    clock = Clock(max_time_s=_TIMES * max_time_s, least_epochs=least_epochs(alpha))
    taken = epochs_in_turns(
        sides,
        random.Random(secrets.randbits(32)),  # noqa: S311  an order, not a secret
        memory_folder=memory_folder,
        cold_cache=cold_cache,
    )
    with contextlib.closing(taken):
        limit = Limit(threshold=threshold, alpha=alpha)
        (epochs,) = take_until_decided(taken, clock, [limit])
    return gate_job.Result(
        epochs=epochs,
        noise=[],
        placements=min(_placements(side.library, len(epochs)) for side in sides),
        spent_s=clock.spent_s,
        num_threads=sides[1].context.num_threads,
    )


def _placements(library: Path | None, epochs: int) -> int:
    """Return how often the code of a side was placed anew in so many epochs.

    A runtime without a way to move its code is placed anew with its process.
    """
    if library is not None and library.stat().st_size <= MOST_LIBRARY_BYTES:
        return epochs
    return -(-epochs // EPOCHS_PER_PROCESS)


def plan_memory(
    baseline: Sequence[ArgumentBits], now: Sequence[ArgumentBits], start: int
) -> MemoryPlan:
    """Return a place for each argument: the same for both sides where the bits are the same.

    Arguments that are as large but differ trade places, as in the latency gate. All others have
    a place without a counterpart.

    Args:
        baseline: The arguments of one side.
        now: Those of the other side.
        start: The first byte to use.
    """
    sides = (baseline, now)
    groups = group_params([[(bits, bits.size_bytes) for bits in side] for side in sides])
    end = start

    def room(size_bytes: int) -> int:
        nonlocal end
        begin = -(-end // _ALIGNMENT) * _ALIGNMENT
        end = begin + size_bytes
        return begin

    fixed: tuple[list[Slot], list[Slot]] = ([], [])
    swapped: tuple[list[list[Slot]], list[list[Slot]]] = ([[], []], [[], []])
    for group in groups:
        places = [place for tensor in group for place in places_of(tensor)]
        rooms = [room(sides[side][index].size_bytes) for side, index in places[: len(group)]]
        for number, (side, index) in enumerate(places):
            if len(group) == 1:
                # One side writes what both read.
                slot = Slot(index=index, offset=rooms[0], is_written=not number)
                fixed[side].append(slot)
                continue
            for arrangement in (0, 1):
                slot = Slot(index=index, offset=rooms[number ^ arrangement], is_written=True)
                swapped[side][arrangement].append(slot)
    trades = any(len(group) > 1 for group in groups)
    first, second = (tuple(map(tuple, one)) if trades else () for one in swapped)
    return MemoryPlan(
        size_bytes=max(1, end),
        fixed=(tuple(fixed[0]), tuple(fixed[1])),
        traded=(first, second),
    )


def _placed_anew(
    opened: OpenedSides, rng: random.Random, memory_folder: Path
) -> tuple[TakingTurns, ...]:
    """Place code and tensors of both sides anew, in memory that both map."""
    start = rng.randrange(_MOST_PADDING) * _ALIGNMENT
    plan = plan_memory(opened.opened[0].arguments, opened.opened[1].arguments, start)
    memory = _memory_file(plan.size_bytes, memory_folder)
    core: int | None = None
    try:
        for side in rng.sample((0, 1), 2):
            request = PlaceRequest(memory=memory, fixed=plan.fixed[side], traded=plan.traded[side])
            core = opened.processes[side].ask(Side.place, request, MEASURING).core
    finally:
        memory.unlink(missing_ok=True)  # it stays in memory while it's mapped
    # TVM binds the threads of a pool itself.
    core = core if opened.num_threads == 1 else None
    return tuple(_arrangement(opened, number, core, rng) for number in range(plan.arrangements))


def _memory_file(size_bytes: int, folder: Path) -> Path:
    has_room = _SHARED_MEMORY.is_dir() and shutil.disk_usage(_SHARED_MEMORY).free > 2 * size_bytes
    folder = _SHARED_MEMORY if has_room else folder
    path = folder / f"tvmtune-vet-{secrets.token_hex(8)}"
    with path.open("xb") as file:
        file.truncate(size_bytes)
    return path


def _arrangement(
    opened: OpenedSides, number: int, core: int | None, rng: random.Random
) -> TakingTurns:
    def enter() -> None:
        for side in rng.sample((0, 1), 2):
            request = EnterRequest(arrangement=number, core=core)
            opened.processes[side].ask(Side.enter, request, MEASURING)

    def timer(side: int) -> Timer:
        def mean_s(calls: int) -> float:
            request = SampleRequest(arrangement=number, number=calls)
            return opened.processes[side].ask(Side.sample, request, MEASURING).mean_s

        return mean_s

    return TakingTurns(enter=enter, timers=(timer(0), timer(1)))
