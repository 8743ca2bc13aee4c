"""Both libraries of a comparison in memory: loaded and placed anew for every epoch.

The placement of code and tensors makes a library differ from its copy by some percent, for as long
as they stay there (docs/explanation/gate-evaluation.md). So each epoch loads fresh copies,
allocates everything anew, and lets both sides share every tensor they can. Tensors that one side
wants in another layout trade places within the epoch. TVM never unmaps a library, so the memory
and disk space of its copies are bounded.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from pytest_tvmtune.core.tensors.dtypes import to_plain
from pytest_tvmtune.core.tensors.signature import Array
from pytest_tvmtune.processes.shared_arrays import releasing_pages
from pytest_tvmtune.relax.devices.machine import Machine
from pytest_tvmtune.relax.measuring.session import copy_of, size_bytes
from pytest_tvmtune.relax.measuring.timing import Timer, make_timer

Made = TypeVar("Made")
ParamPairs = tuple[tuple[int, int], ...]
_MOST_PADDING_BYTES = 1 << 20
# All copies of both libraries together; of memory and disk that are scarce, this share.
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
class PairedMeasurement:
    """A baseline and the library to compare with it.

    shared: (index in the baseline's params, index in now's) of those that are bit-equal; traded:
    of those that are as large, but differ. cold_cache: empty the caches before each call.
    """

    entry: str
    machine: Machine
    baseline: MeasuredLibrary
    now: MeasuredLibrary
    inputs: tuple[Any, ...]
    shared: ParamPairs
    traded: ParamPairs
    cold_cache: bool = False


@dataclass(frozen=True, kw_only=True, eq=False)
class ParamPlacement:
    """A placement of the parameters; `enter` puts them there.

    vms, arguments, timers: of the baseline and of now.
    """

    enter: Callable[[], None]
    vms: tuple[Any, Any]
    arguments: tuple[tuple[Any, ...], tuple[Any, ...]]
    timers: tuple[Timer, Timer]


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

    def pick(self, baseline: Path, now: Path, rng: random.Random) -> tuple[Any, Any]:
        """Return a VM of each, of two copies where both are one library."""
        cost_bytes = _COPY_COST * (baseline.stat().st_size + now.stat().st_size)
        first, second = self.loaded.get(baseline, []), self.loaded.get(now, [])
        enough = len(first) >= 2 if baseline == now else bool(first and second)
        if cost_bytes > self.budget_bytes and enough:
            chosen = (
                rng.sample(first, 2) if baseline == now else [rng.choice(first), rng.choice(second)]
            )
        else:
            self.budget_bytes -= cost_bytes
            chosen = _in_any_order(lambda side: self._load((baseline, now)[side]), rng)
        vms = _in_any_order(lambda side: self.machine.virtual_machine(chosen[side]), rng)
        return vms[0], vms[1]

    def count(self, library: Path) -> int:
        """Return how many copies of a library were loaded."""
        return len(self.loaded.get(library, []))

    def _load(self, library: Path) -> Any:
        module = self.machine.load_copy(library, self.folder)
        self.loaded.setdefault(library, []).append(module)
        return module


def open_copies(measurement: PairedMeasurement, folder: Path) -> LoadedCopies:
    """Return no copies yet, with the memory and disk space in `folder` that they may take."""
    free_bytes = measurement.machine.free_bytes(folder)
    budget_bytes = min(_MOST_COPIES_BYTES, int(_SCARCE_SHARE * free_bytes))
    return LoadedCopies(folder=folder, machine=measurement.machine, budget_bytes=budget_bytes)


def match_params(baseline: Sequence[Any], now: Sequence[Any]) -> tuple[ParamPairs, ParamPairs]:
    """Return the index pairs of bit-equal parameters, and those of others that are as large."""
    return pair_params(
        [(_bits(tensor), size_bytes(tensor)) for tensor in baseline],
        [(_bits(tensor), size_bytes(tensor)) for tensor in now],
    )


def pair_params(
    baseline: Sequence[tuple[Hashable, int]], now: Sequence[tuple[Hashable, int]]
) -> tuple[ParamPairs, ParamPairs]:
    """Return as `match_params`, for parameters of which the bits and the size are known.

    bits: a value that is equal where the shape, the dtype, and all bits are.
    """
    shared = _pair_up([bits for bits, _ in baseline], [bits for bits, _ in now])
    done = [{pair[side] for pair in shared} for side in (0, 1)]
    sizes = [
        [None if index in done[side] else size for index, (_, size) in enumerate(params)]
        for side, params in enumerate((baseline, now))
    ]
    return shared, _pair_up(*sizes)


def place(
    measurement: PairedMeasurement, copies: LoadedCopies, rng: random.Random
) -> tuple[ParamPlacement, ...]:
    """Take copies of both libraries and place all tensors anew.

    One arrangement, or two where parameters trade places.
    """
    import tvm

    # What earlier calls left there would else be used again, where it lies.
    machine = measurement.machine
    machine.empty_pools()
    padding = tvm.runtime.empty((1 + rng.randrange(_MOST_PADDING_BYTES),), "uint8", machine.device)
    inputs = tuple(copy_of(tensor) for tensor in measurement.inputs)
    arrays = (*measurement.baseline.arrays, *measurement.now.arrays)
    with releasing_pages(arrays):
        params = _fixed_params(measurement)
    rooms = [
        tuple(_room(measurement.now.params[j]) for _ in range(2)) for _, j in measurement.traded
    ]
    vms = copies.pick(measurement.baseline.library, measurement.now.library, rng)
    arrangements = []
    for swap in (0, 1) if rooms else (0,):
        moves = []
        for pair, room in zip(measurement.traded, rooms, strict=True):
            for side, index in enumerate(pair):
                tensor = (measurement.baseline, measurement.now)[side].params[index]
                view = room[side ^ swap]._create_view(tensor.shape, tensor.dtype)  # noqa: SLF001
                params[side][index] = view
                moves.append((tensor, view))
        arguments = ((*inputs, *params[0]), (*inputs, *params[1]))
        arrangements.append(
            ParamPlacement(
                enter=_mover(moves, arrays, padding),
                vms=vms,
                arguments=arguments,
                timers=_timers(measurement, vms, arguments, rng, saved_as=f"arranged_{swap}"),
            )
        )
    return tuple(arrangements)


def _timers(
    measurement: PairedMeasurement,
    vms: tuple[Any, Any],
    arguments: tuple[tuple[Any, ...], tuple[Any, ...]],
    rng: random.Random,
    *,
    saved_as: str,
) -> tuple[Timer, Timer]:
    def timer(side: int) -> Timer:
        return make_timer(
            measurement.machine,
            vms[side],
            measurement.entry,
            arguments[side],
            saved_as=saved_as,
            cold_cache=measurement.cold_cache,
        )

    timers = _in_any_order(timer, rng)
    return timers[0], timers[1]


def _in_any_order(make: Callable[[int], Made], rng: random.Random) -> list[Made]:
    """Return what `make` makes of each side.

    The first side gets another place in memory, the same in every epoch, for as long as the process
    runs: up to 1.6 % in one process of fifteen (docs/explanation/gate-evaluation.md). So neither
    side is always first.
    """
    made = {side: make(side) for side in rng.sample((0, 1), 2)}
    return [made[0], made[1]]


def _fixed_params(measurement: PairedMeasurement) -> tuple[list[Any], list[Any]]:
    """Return fresh copies of both sides' parameters, shared where they are equal.

    Those that trade places are left as they are, to be put somewhere later.
    """
    baseline, now = list(measurement.baseline.params), list(measurement.now.params)
    for i, j in measurement.shared:
        baseline[i] = now[j] = copy_of(baseline[i])
    done = [*measurement.shared, *measurement.traded]
    for side, params in enumerate((baseline, now)):
        for index in set(range(len(params))) - {pair[side] for pair in done}:
            params[index] = copy_of(params[index])
    return baseline, now


def _mover(
    moves: Sequence[tuple[Any, Any]], arrays: Sequence[Array], padding: Any
) -> Callable[[], None]:
    """Return what copies each tensor to its place. padding: is kept allocated by it."""

    def enter(_padding: Any = padding) -> None:
        with releasing_pages(arrays if moves else ()):
            for source, view in moves:
                view.copyfrom(source)

    return enter


def _pair_up(baseline: Sequence[Any], now: Sequence[Any]) -> ParamPairs:
    """Return index pairs of equal values, each index once; None equals nothing."""
    unused: dict[Any, list[int]] = {}
    for index, value in enumerate(baseline):
        unused.setdefault(value, []).append(index)
    return tuple(
        (unused[value].pop(0), index)
        for index, value in enumerate(now)
        if value is not None and unused.get(value)
    )


def _bits(tensor: Any) -> tuple[tuple[int, ...], str, str]:
    digest = hashlib.sha256(to_plain(tensor.numpy()).data).hexdigest()
    return tuple(int(size) for size in tensor.shape), str(tensor.dtype), digest


def _room(tensor: Any) -> Any:
    import tvm

    return tvm.runtime.empty((size_bytes(tensor),), "uint8", tensor.device)
