"""The libraries of a comparison in memory: loaded and placed anew for every epoch.

The placement of code and tensors makes a library differ from its copy by some percent, for as long
as they stay there (docs/explanation/gate-evaluation.md). So each epoch loads fresh copies,
allocates everything anew, and lets the sides share every tensor they can. Tensors that one side
wants in another layout trade places within the epoch. TVM never unmaps a library, so the memory
and disk space of its copies are bounded.
"""

from __future__ import annotations

import hashlib
import random
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from pytest_tvmtune.core.tensors.dtypes import to_plain
from pytest_tvmtune.core.tensors.signature import Array
from pytest_tvmtune.processes.shared_arrays import releasing_pages
from pytest_tvmtune.relax.devices.machine import Machine
from pytest_tvmtune.relax.measuring.param_groups import (
    ParamGroup,
    ParamTensor,
    group_params,
    places_of,
)
from pytest_tvmtune.relax.measuring.session import copy_of, size_bytes
from pytest_tvmtune.relax.measuring.timing import Timer, make_timer

Given = TypeVar("Given")
Made = TypeVar("Made")
# The side that the others are compared with.
NOW = 1
_MOST_PADDING_BYTES = 1 << 20
# All copies of all libraries together; of memory and disk that are scarce, this share.
_MOST_COPIES_BYTES = 1 << 30
_SCARCE_SHARE = 0.25
# What a loaded copy takes at most, in sizes of its file: on disk, mapped, constants read, placed.
_COPY_COST = 4


@dataclass(frozen=True, kw_only=True, eq=False)
class MeasuredLibrary:
    """A library, and the parameters its entry takes: transformed, to be copied into each epoch.

    arrays: the shared arrays that contain the parameters.
    """

    library: Path
    params: tuple[Any, ...]
    arrays: tuple[Array, ...] = ()


@dataclass(frozen=True, kw_only=True, eq=False)
class Measurement:
    """The sides of a comparison, and the call that all are measured by.

    rivals: those that the side `NOW` is compared with. groups: all parameters of all sides.
    cold_cache: empty the caches before each call.
    """

    entry: str
    machine: Machine
    sides: tuple[MeasuredLibrary, ...]
    rivals: tuple[int, ...]
    inputs: tuple[Any, ...]
    groups: tuple[ParamGroup, ...]
    cold_cache: bool = False

    @property
    def arrays(self) -> tuple[Array, ...]:
        """The shared arrays of all sides."""
        return tuple(array for side in self.sides for array in side.arrays)


@dataclass(frozen=True, kw_only=True, eq=False)
class ParamPlacement:
    """A placement of the parameters; `enter` puts them there.

    vms, arguments, timers: of each side.
    """

    enter: Callable[[], None]
    vms: tuple[Any, ...]
    arguments: tuple[tuple[Any, ...], ...]
    timers: tuple[Timer, ...]


@dataclass(kw_only=True, eq=False)
class LoadedCopies:
    """Copies of libraries, loaded from `folder` while they keep within `budget_bytes`.

    Beyond it, existing copies serve again, picked at random. So the code of a library with large
    constants moves only a few times.
    """

    folder: Path
    machine: Machine
    budget_bytes: int
    loaded: dict[Path, list[Any]] = field(default_factory=dict)

    def pick(self, libraries: Sequence[Path], rng: random.Random) -> tuple[Any, ...]:
        """Return a VM of each, of another copy for each of those that are one library."""
        cost_bytes = _COPY_COST * sum(library.stat().st_size for library in libraries)
        needed = Counter(libraries)
        enough = all(self.count(library) >= count for library, count in needed.items())
        if cost_bytes > self.budget_bytes and enough:
            unused = {one: rng.sample(self.loaded[one], count) for one, count in needed.items()}
            chosen = [unused[library].pop() for library in libraries]
        else:
            self.budget_bytes -= cost_bytes
            chosen = _in_any_order(self._load, libraries, rng)
        return tuple(_in_any_order(self.machine.virtual_machine, chosen, rng))

    def count(self, library: Path) -> int:
        """Return how many copies of a library were loaded."""
        return len(self.loaded.get(library, []))

    def _load(self, library: Path) -> Any:
        module = self.machine.load_copy(library, self.folder)
        self.loaded.setdefault(library, []).append(module)
        return module


def open_copies(measurement: Measurement, folder: Path) -> LoadedCopies:
    """Return no copies yet, with the memory and disk space in `folder` that they may take."""
    free_bytes = measurement.machine.free_bytes(folder)
    budget_bytes = min(_MOST_COPIES_BYTES, int(_SCARCE_SHARE * free_bytes))
    return LoadedCopies(folder=folder, machine=measurement.machine, budget_bytes=budget_bytes)


def match_params(sides: Sequence[Sequence[Any]]) -> tuple[ParamGroup, ...]:
    """Return the groups of the parameters of each side."""
    return group_params([[(_bits(one), size_bytes(one)) for one in params] for params in sides])


def place(
    measurement: Measurement, copies: LoadedCopies, rng: random.Random
) -> tuple[ParamPlacement, ...]:
    """Take copies of all libraries and place all tensors anew.

    One arrangement, or more where parameters trade places, so that each tensor is in each place.
    """
    import tvm

    # What earlier calls left there would else be used again, where it lies.
    machine, sides = measurement.machine, measurement.sides
    machine.empty_pools()
    padding = tvm.runtime.empty((1 + rng.randrange(_MOST_PADDING_BYTES),), "uint8", machine.device)
    inputs = tuple(copy_of(tensor) for tensor in measurement.inputs)
    params = [list(side.params) for side in sides]
    with releasing_pages(measurement.arrays):
        for (tensor,) in (group for group in measurement.groups if len(group) == 1):
            copied = copy_of(_value(measurement, tensor))
            for side, index in places_of(tensor):
                params[side][index] = copied
    trading = [group for group in measurement.groups if len(group) > 1]
    rooms = [[_room(_value(measurement, tensor)) for tensor in group] for group in trading]
    for room in rooms:
        # With three, a cycle alone would leave each side the same neighbors.
        rng.shuffle(room)
    vms = copies.pick([side.library for side in sides], rng)
    arrangements = []
    for number in range(max(map(len, trading), default=1)):
        moves = []
        for group, room in zip(trading, rooms, strict=True):
            for start, tensor in enumerate(group):
                value, there = _value(measurement, tensor), room[(start + number) % len(room)]
                view = there._create_view(value.shape, value.dtype)  # noqa: SLF001
                for side, index in places_of(tensor):
                    params[side][index] = view
                moves.append((value, view))
        arguments = tuple((*inputs, *own) for own in params)
        arrangements.append(
            ParamPlacement(
                enter=_mover(moves, measurement.arrays, padding),
                vms=vms,
                arguments=arguments,
                timers=_timers(measurement, vms, arguments, rng, saved_as=f"arranged_{number}"),
            )
        )
    return tuple(arrangements)


def _value(measurement: Measurement, tensor: ParamTensor) -> Any:
    side, index = places_of(tensor)[0]
    return measurement.sides[side].params[index]


def _timers(
    measurement: Measurement,
    vms: tuple[Any, ...],
    arguments: tuple[tuple[Any, ...], ...],
    rng: random.Random,
    *,
    saved_as: str,
) -> tuple[Timer, ...]:
    def timer(side: int) -> Timer:
        return make_timer(
            measurement.machine,
            vms[side],
            measurement.entry,
            arguments[side],
            saved_as=saved_as,
            cold_cache=measurement.cold_cache,
        )

    return tuple(_in_any_order(timer, range(len(vms)), rng))


def _in_any_order(
    make: Callable[[Given], Made], given: Sequence[Given], rng: random.Random
) -> list[Made]:
    """Return what `make` makes of each side.

    The first side gets another place in memory, the same in every epoch, for as long as the process
    runs: up to 1.6 % in one process of fifteen (docs/explanation/gate-evaluation.md). So no side is
    always first.
    """
    sides = range(len(given))
    made = {side: make(given[side]) for side in rng.sample(sides, len(sides))}
    return [made[side] for side in sides]


def _mover(
    moves: Sequence[tuple[Any, Any]], arrays: Sequence[Array], padding: Any
) -> Callable[[], None]:
    """Return what copies each tensor to its place. padding: is kept allocated by it."""

    def enter(_padding: Any = padding) -> None:
        with releasing_pages(arrays if moves else ()):
            for source, view in moves:
                view.copyfrom(source)

    return enter


def _bits(tensor: Any) -> tuple[tuple[int, ...], str, str]:
    digest = hashlib.sha256(to_plain(tensor.numpy()).data).hexdigest()
    return tuple(int(size) for size in tensor.shape), str(tensor.dtype), digest


def _room(tensor: Any) -> Any:
    import tvm

    return tvm.runtime.empty((size_bytes(tensor),), "uint8", tensor.device)
