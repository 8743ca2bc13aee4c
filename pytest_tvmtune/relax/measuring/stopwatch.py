"""What each call within a call takes, by a clock that the Relax VM's instrument reads.

The instrument is native code where it can be built. A Python function takes some 2 us for each
kernel, which can be taken off. It also leaves its own data in the caches, which can't be taken off:
in a model of many small kernels, the kernels seemed to take a sixth longer.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

from pytest_tvmtune.core.clock import monotonic_s
from pytest_tvmtune.core.errors import LackingError
from pytest_tvmtune.relax.devices.helper_library import build_helper
from pytest_tvmtune.relax.devices.machine import Machine
from pytest_tvmtune.relax.devices.noted_calls import noted_calls
from pytest_tvmtune.relax.devices.remote_machine import RemoteMachine
from pytest_tvmtune.relax.measuring.kernel_instrument import instrumented

# `Stamp` in relax/devices/device_helper.cc.
_STAMP = np.dtype([(name, np.int64) for name in ("time_ns", "function", "before", "arguments")])
# A call has a stamp before and one after.
_FIRST_STAMPS = 1 << 12
_SAVED = "pytest_tvmtune_watched"
Stamps: TypeAlias = npt.NDArray[Any]


class Called(NamedTuple):
    """A function that an entry called, and with how many arguments."""

    name: str
    arguments: int


@dataclass(frozen=True, kw_only=True)
class TimedCall:
    """A call of an entry: its innermost calls in turn, and the time of each."""

    course: tuple[Called, ...]
    seconds: npt.NDArray[np.float64]


class Stopwatch:
    """What notes the calls within a call, in a machine's native helper."""

    def __init__(self, helper: Any) -> None:
        self._helper = helper
        self._room = _FIRST_STAMPS

    def stamps(self, vm: Any, call: Callable[[], Any], calls: int) -> list[Stamps]:
        """Call so often; return the stamps of each."""
        self._helper["watch_times"](vm.module, self._room)
        ends = [0]
        try:
            for _ in range(calls):
                call()
                ends.append(int(self._helper["stamp_count"]()))
        finally:
            self._helper["unwatch"](vm.module)
        if ends[-1] > self._room:
            self._room = 2 * ends[-1]
            return self.stamps(vm, call, calls)
        taken = np.frombuffer(bytes(self._helper["stamps"]()), _STAMP)
        return [taken[begin:end] for begin, end in pairwise(ends)]

    def names(self, vm: Any, call: Callable[[], Any]) -> dict[int, str]:
        """Call once; return the functions' names, by the addresses in stamps."""
        return {one.function: one.name for one in noted_calls(self._helper, vm, call)}


def open_stopwatch(machine: Machine, folder: Path) -> Stopwatch | None:
    """Return a machine's stopwatch, None where this machine can't build the helper.

    folder: where it is built.
    """
    if isinstance(machine, RemoteMachine):
        return Stopwatch(machine.helper)
    try:
        return Stopwatch(machine.load(build_helper(folder, "")))
    except LackingError:
        return None  # no C++ compiler: by Python, then


class Watch:
    """A stopwatch on the entry of a VM. A first call finds the names.

    stopwatch: as `open_stopwatch` returns it. cold_cache: empty the caches before each call.
    """

    def __init__(
        self,
        stopwatch: Stopwatch | None,
        machine: Machine,
        vm: Any,
        entry: str,
        arguments: Sequence[Any],
        *,
        cold_cache: bool = False,
    ) -> None:
        self._stopwatch, self._vm = stopwatch, vm
        vm.save_function(entry, _SAVED, *arguments, include_return=False)
        self._call = partial(machine.seconds, vm, _SAVED, 1, cold_cache=cold_cache)
        # By address.
        self._names: dict[int, str] = {}
        self._find_names()

    def take(self, calls: int) -> list[TimedCall]:
        """Call the entry so often; return what each call took.

        An entry that keeps something from call to call may call functions that it hasn't called so
        far. The native instrument leaves such a call out, and an additional call finds those names.
        """
        if self._stopwatch is None:
            return [self._in_python() for _ in range(calls)]
        stamps = self._stopwatch.stamps(self._vm, self._call, calls)
        found = [seen for seen in map(self._read, stamps) if seen is not None]
        if len(found) < calls:
            self._find_names()
        return found

    def _find_names(self) -> None:
        if self._stopwatch is None:
            self._in_python()
        else:
            self._names |= self._stopwatch.names(self._vm, self._call)

    def _read(self, stamps: npt.NDArray[Any]) -> TimedCall | None:
        before = stamps["before"].astype(bool)
        innermost = np.flatnonzero(before[:-1] & ~before[1:])
        functions = stamps["function"][innermost].tolist()
        if not self._names.keys() >= set(functions):
            return None
        arguments = stamps["arguments"][innermost].tolist()
        times_ns = stamps["time_ns"]
        return TimedCall(
            course=tuple(
                Called(self._names[function], count)
                for function, count in zip(functions, arguments, strict=True)
            ),
            seconds=(times_ns[innermost + 1] - times_ns[innermost]) / 1e9,
        )

    def _in_python(self) -> TimedCall:
        clock = monotonic_s
        course: list[Called] = []
        seconds: list[float] = []
        began, is_innermost = 0.0, False

        def instrument(_function: Any, name: str, before: bool, _ret: Any, *given: Any) -> int:
            nonlocal began, is_innermost
            if before:
                is_innermost = True
                # The last thing before the kernel, as the clock is the first after it.
                began = clock()
                return 0
            ended = clock()
            if is_innermost:
                course.append(Called(name, len(given)))
                seconds.append(ended - began)
            is_innermost = False
            return 0

        with instrumented(self._vm, instrument):
            self._call()
        return TimedCall(course=tuple(course), seconds=np.asarray(seconds))
