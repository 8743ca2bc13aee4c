"""What each call within a call takes, by a clock that the Relax VM's instrument reads.

The instrument is native code where it can be built: a Python function takes some 2 us for each
kernel, which can be taken off, and leaves its own data in the caches, which can't: the kernels of a
model of many small ones seemed to take a sixth longer.
"""

from __future__ import annotations

import ctypes
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

from pytest_tvmtune.relax.watching import instrumented

_SOURCE = Path(__file__).with_suffix(".cc")
# A call has a stamp before and one after.
_FIRST_STAMPS = 1 << 12


@dataclass(frozen=True, kw_only=True)
class Seen:
    """A call that the instrument saw. arguments: how many."""

    name: str
    arguments: int
    seconds: float


class _Stamp(ctypes.Structure):
    _fields_ = tuple((name, ctypes.c_int64) for name in ("time_ns", "function", "before"))


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
        self._symbols = ctypes.CDLL(str(library))
        self._count = ctypes.c_int64.in_dll(self._symbols, "count")
        self._make_room(_FIRST_STAMPS)

    @property
    def is_native(self) -> bool:
        """Whether the instrument is native code."""
        return self._function is not None

    def watch(self, vm: Any, entry: str, arguments: Sequence[Any], calls: int) -> list[list[Seen]]:
        """Call the entry so often; return, for each time, what was called in it, innermost only.

        Some more calls come first, which tell the names. Where the entry's course isn't always the
        same, since it keeps something from call to call, those that took another are left out.
        """
        names = _watch_in_python(vm, entry, arguments)
        if not self.is_native:
            return [_watch_in_python(vm, entry, arguments) for _ in range(calls)]
        _, usual = self._stamp(vm, entry, arguments)
        watched = []
        for _ in range(calls if len(usual) == len(names) else 0):
            secs, course = self._stamp(vm, entry, arguments)
            if course == usual:
                watched.append(
                    [replace(one, seconds=s) for one, s in zip(names, secs, strict=True)]
                )
        return watched

    def _stamp(
        self, vm: Any, entry: str, arguments: Sequence[Any]
    ) -> tuple[list[float], list[int]]:
        """Call the entry; return the seconds and the function of each innermost call."""
        self._count.value = 0
        with instrumented(vm, self._function):
            vm[entry](*arguments)
        if self._count.value > len(self._stamps):
            self._make_room(2 * self._count.value)
            return self._stamp(vm, entry, arguments)
        innermost = [
            (before, after)
            for before, after in pairwise(self._stamps[: self._count.value])
            if before.before and not after.before
        ]
        secs = [(after.time_ns - before.time_ns) / 1e9 for before, after in innermost]
        return secs, [before.function for before, _ in innermost]

    def _make_room(self, stamps: int) -> None:
        self._stamps = (_Stamp * stamps)()
        ctypes.c_void_p.in_dll(self._symbols, "stamps").value = ctypes.addressof(self._stamps)
        ctypes.c_int64.in_dll(self._symbols, "capacity").value = stamps


def _build(folder: Path) -> Path:
    """Build the native instrument. Raises RuntimeError, OSError."""
    from tvm.support.cc import create_shared, get_cc
    from tvm_ffi.libinfo import include_paths

    if not get_cc():
        raise RuntimeError("no C++ compiler")
    library = folder / "stopwatch.so"
    # Its own variables, whatever else in the process has the same names.
    options = ["-O2", "-Wl,-Bsymbolic", *(f"-I{path}" for path in include_paths())]
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
