"""What each call within a call takes, by a clock that the Relax VM's instrument reads.

The instrument is native code where it can be built: a Python function takes some 2 us for each
kernel, which can be taken off, and leaves its own data in the caches, which can't: the kernels of a
model of many small ones seemed to take a fifth longer.
"""

from __future__ import annotations

import ctypes
import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from pytest_tvmtune.relax.watching import instrumented

_SOURCE = Path(__file__).with_suffix(".cc")
# A call has a stamp before and one after.
_MOST_STAMPS = 1 << 17


@dataclass(frozen=True, kw_only=True)
class Seen:
    """A call that the instrument saw. arguments: how many."""

    name: str
    arguments: int
    seconds: float


class _Stamp(ctypes.Structure):
    _fields_ = (("time_ns", ctypes.c_int64), ("before", ctypes.c_int64))


class Stopwatch:
    """Watches calls of a VirtualMachine. folder: where the native instrument is built.

    is_native: else no C++ compiler is there, or it can't build it.
    """

    def __init__(self, folder: Path) -> None:
        self._function: Any = None
        try:
            library = _build(folder)
        except (RuntimeError, OSError):
            return  # by Python, then
        import tvm

        self._function = tvm.runtime.load_module(str(library))["stamp"]
        symbols = ctypes.CDLL(str(library))
        self._stamps = (_Stamp * _MOST_STAMPS)()
        ctypes.POINTER(_Stamp).in_dll(symbols, "stamps").contents = self._stamps[0]
        ctypes.c_int64.in_dll(symbols, "capacity").value = _MOST_STAMPS
        self._count = ctypes.c_int64.in_dll(symbols, "count")

    @property
    def is_native(self) -> bool:
        """Whether the instrument is native code."""
        return self._function is not None

    def watch(self, vm: Any, entry: str, arguments: Sequence[Any], calls: int) -> list[list[Seen]]:
        """Call the entry so often; return, for each time, what was called in it, innermost only.

        One more call, the first, tells the names. Where the entry's course isn't always the same,
        since it keeps something from call to call, those that took another are left out.
        """
        first = _watch_in_python(vm, entry, arguments)
        if not self.is_native:
            return [_watch_in_python(vm, entry, arguments) for _ in range(calls)]
        taken = [self._seconds(vm, entry, arguments) for _ in range(calls)]
        return [
            [
                Seen(name=one.name, arguments=one.arguments, seconds=seconds)
                for one, seconds in zip(first, secs, strict=True)
            ]
            for secs in taken
            if len(secs) == len(first)
        ] or [first]

    def _seconds(self, vm: Any, entry: str, arguments: Sequence[Any]) -> list[float]:
        self._count.value = 0
        with instrumented(vm, self._function):
            vm[entry](*arguments)
        noted = self._stamps[: min(self._count.value, _MOST_STAMPS)]
        return [
            (after.time_ns - before.time_ns) / 1e9
            for before, after in pairwise(noted)
            if before.before and not after.before
        ]


def _build(folder: Path) -> Path:
    """Build the native instrument. Raises RuntimeError, OSError."""
    from tvm.support.cc import create_shared, get_cc
    from tvm_ffi.libinfo import include_paths

    if not get_cc():
        raise RuntimeError("no C++ compiler")
    library = folder / "stopwatch.so"
    options = ["-O2", *(f"-I{path}" for path in include_paths())]
    create_shared(str(library), [str(_SOURCE)], options=options)
    return library


def _watch_in_python(vm: Any, entry: str, arguments: Sequence[Any]) -> list[Seen]:
    clock = time.perf_counter
    calls: list[Seen] = []
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
            calls.append(Seen(name=name, arguments=len(given), seconds=ended - began))
        is_innermost = False
        return 0

    with instrumented(vm, instrument):
        vm[entry](*arguments)
    return calls
