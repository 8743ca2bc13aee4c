"""What each call within a call takes, by a clock that the Relax VM's instrument reads.

The instrument is native code where it can be built. A Python function takes some 2 us for each
kernel, which can be taken off. It also leaves its own data in the caches, which can't be taken off:
in a model of many small kernels, the kernels seemed to take a sixth longer.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from pytest_tvmtune.core.clock import monotonic_s
from pytest_tvmtune.relax import compat
from pytest_tvmtune.relax.measuring.kernel_instrument import instrumented

_SOURCE = Path(__file__).with_suffix(".cc")
# `Stamp` in stopwatch.cc.
_STAMP = np.dtype([(name, np.int64) for name in ("time_ns", "function", "before", "arguments")])
# A call has a stamp before and one after.
_FIRST_STAMPS = 1 << 12


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
    """What watches calls. folder: where the native instrument is built.

    is_native: if false, the machine has no C++ compiler, or it can't build the instrument.
    """

    def __init__(self, folder: Path) -> None:
        self._function: Any = None
        try:
            library = _build(folder)
        except (RuntimeError, OSError):
            return  # by Python, then
        import tvm

        self._function = tvm.runtime.load_module(str(library))["stamp"]
        self._symbols = ctypes.CDLL(str(library))
        self._count = ctypes.c_int64.in_dll(self._symbols, "count")
        self._make_room(_FIRST_STAMPS)

    @property
    def is_native(self) -> bool:
        """Whether the instrument is native code."""
        return self._function is not None

    def stamps(self, vm: Any, call: Callable[[], Any], calls: int) -> list[npt.NDArray[Any]]:
        """Call so often; return the stamps of each. They last until the next time."""
        self._count.value = 0
        ends = [0]
        with instrumented(vm, self._function):
            for _ in range(calls):
                call()
                ends.append(self._count.value)
        if ends[-1] > len(self._stamps):
            self._make_room(2 * ends[-1])
            return self.stamps(vm, call, calls)
        return [self._stamps[begin:end] for begin, end in pairwise(ends)]

    def _make_room(self, stamps: int) -> None:
        self._stamps = np.zeros(stamps, _STAMP)
        ctypes.c_void_p.in_dll(self._symbols, "stamps").value = self._stamps.ctypes.data
        ctypes.c_int64.in_dll(self._symbols, "capacity").value = stamps


class Watch:
    """A stopwatch on the entry of a VirtualMachine. A first call finds the names.

    flush: called before each call.
    """

    def __init__(
        self,
        stopwatch: Stopwatch,
        vm: Any,
        entry: str,
        arguments: Sequence[Any],
        flush: Callable[[], None] | None = None,
    ) -> None:
        self._stopwatch, self._vm = stopwatch, vm

        def call() -> None:
            if flush is not None:
                flush()
            vm[entry](*arguments)

        self._call = call
        # By address.
        self._names: dict[int, str] = {}
        self._in_python()

    def take(self, calls: int) -> list[TimedCall]:
        """Call the entry so often; return what each call took.

        An entry that keeps something from call to call may call functions that it hasn't called so
        far. The native instrument leaves such a call out, and an additional call finds those names.
        """
        if not self._stopwatch.is_native:
            return [self._in_python() for _ in range(calls)]
        stamps = self._stopwatch.stamps(self._vm, self._call, calls)
        found = [seen for seen in map(self._read, stamps) if seen is not None]
        if len(found) < calls:
            self._in_python()
        return found

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

        def instrument(function: Any, name: str, before: bool, _ret: Any, *given: Any) -> int:
            nonlocal began, is_innermost
            if before:
                self._names[function.__chandle__()] = name
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


def _build(folder: Path) -> Path:
    """Build the native instrument. Raises RuntimeError, OSError."""
    from tvm_ffi.libinfo import include_paths

    if not compat.get_cc():
        raise RuntimeError("no C++ compiler")
    library = folder / "stopwatch.so"
    # Its own variables, whatever else in the process has the same names.
    options = ["-O2", "-Wl,-Bsymbolic", *(f"-I{path}" for path in include_paths())]
    compat.create_shared(str(library), [str(_SOURCE)], options=options)
    return library
