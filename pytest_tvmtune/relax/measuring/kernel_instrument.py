"""Watching the kernels of a call, or of two at once, through the Relax VM's instrument.

Nothing is recompiled: the library under test runs. Later kernels reuse storage, so a visitor must
look at a tensor while its kernel is being called.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from pytest_tvmtune.core.kernels.matching import Kernels
from pytest_tvmtune.core.tensors.signature import Array
from pytest_tvmtune.relax import compat
from pytest_tvmtune.relax.measuring.device_kernels import DeviceCalls, KeptTensor, windows
from pytest_tvmtune.relax.measuring.session import copy_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pytest_tvmtune.relax.measuring.session import Session


@dataclass(frozen=True, kw_only=True, eq=False)
class KernelCall:
    """A kernel about to run (`before`), or finished. index: which call of the entry it is."""

    index: int
    name: str
    before: bool
    arguments: Sequence[Any]

    def addresses(self) -> list[int]:
        """Return where its arguments are."""
        return [
            one.address if isinstance(one, KeptTensor) else compat.address_of(one)
            for one in self.arguments
        ]


@dataclass(frozen=True, kw_only=True, eq=False)
class InstrumentedSession:
    """A session, the kernels its library has, and its parameters as they were given."""

    session: Session
    kernels: Kernels
    originals: Sequence[Array] = ()


def call_watched(watched: InstrumentedSession, visit: Callable[[KernelCall], None]) -> None:
    """Call the entry once; `visit` is called for each kernel before and after it runs.

    On a device, `visit` sees the shapes of arguments, and no values.
    """
    if watched.session.machine.is_remote:
        _visit_noted(watched, visit)
        return
    session, count = watched.session, -1

    def instrument(_function: Any, name: str, before: bool, _ret: Any, *arguments: Any) -> int:
        nonlocal count
        if name in watched.kernels:
            count += before
            visit(KernelCall(index=count, name=name, before=before, arguments=arguments))
        return 0

    with instrumented(session.vm, instrument):
        _call(session)


@contextmanager
def instrumented(vm: Any, instrument: Callable[..., int]) -> Iterator[None]:
    """Have a VirtualMachine call the instrument, before and after each of its calls."""
    vm.set_instrument(instrument)
    try:
        yield
    finally:
        vm.set_instrument(None)


def _call(session: Session) -> None:
    """Call the entry with copies of its inputs: a kernel may write to one in place."""
    session.vm[session.entry](*map(copy_of, session.inputs), *session.params)


def _device_calls(watched: InstrumentedSession) -> DeviceCalls:
    session = watched.session
    return DeviceCalls(session, list(watched.kernels), partial(_call, session))


def _visit_noted(watched: InstrumentedSession, visit: Callable[[KernelCall], None]) -> None:
    for index, noted in enumerate(_device_calls(watched).kernels):
        for before in (True, False):
            visit(
                KernelCall(index=index, name=noted.name, before=before, arguments=noted.arguments)
            )


def _visit_kept(
    sides: tuple[InstrumentedSession, InstrumentedSession],
    pairs: Sequence[tuple[int, int]],
    visit: Callable[[KernelCall, KernelCall], bool],
) -> None:
    """Visit pairs as `call_both_watched` does, of calls on a device, one side after the other."""
    both = [_device_calls(watched) for watched in sides]
    for window in windows(pairs):
        for side, calls in enumerate(both):
            calls.keep([pair[side] for pair in window])
        for pair in window:
            for before in (True, False):
                one, other = (
                    KernelCall(
                        index=index,
                        name=calls.kernels[index].name,
                        before=before,
                        arguments=calls.kept(index, before=before),
                    )
                    for calls, index in zip(both, pair, strict=True)
                )
                if not visit(one, other):
                    return


def call_both_watched(
    sides: tuple[InstrumentedSession, InstrumentedSession],
    pairs: Sequence[tuple[int, int]],
    visit: Callable[[KernelCall, KernelCall], bool],
) -> None:
    """Call both entries at once, in step: at each pair of calls each waits for the other.

    visit: is called for each pair, before and after it runs. Both calls wait for it, so all their
    tensors exist. Once it returns False, they run on without it. What it raises is raised here.
    Raises RuntimeError when the two don't come to all of the pairs.
    """
    if sides[0].session.machine.is_remote:
        _visit_kept(sides, pairs, visit)
        return
    rendezvous = _Rendezvous(pairs, visit)
    threads = [
        threading.Thread(target=rendezvous.run_side, args=(side, sides[side])) for side in (0, 1)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if rendezvous.errors:
        raise rendezvous.errors[0]


class _Rendezvous:
    """Where two threads wait for one another, before and after each of their pairs of calls."""

    def __init__(
        self, pairs: Sequence[tuple[int, int]], visit: Callable[[KernelCall, KernelCall], bool]
    ) -> None:
        self._left = iter([(pair, before) for pair in pairs for before in (True, False)])
        self._expected = next(self._left, None)
        self._calls = [{pair[side] for pair in pairs} for side in (0, 1)]
        self._visit = visit
        self._changed = threading.Condition()
        self._here: list[KernelCall | None] = [None, None]
        self.errors: list[BaseException] = []

    def run_side(self, side: int, watched: InstrumentedSession) -> None:
        """Call one side's entry, and come to the meetings of its calls."""

        def arrive(visit: KernelCall) -> None:
            if visit.index in self._calls[side]:
                self._arrive(side, visit)

        try:
            call_watched(watched, arrive)
        except BaseException as error:  # noqa: BLE001  raised again by whoever waits for the thread
            self.errors.append(error)
        with self._changed:
            if self._expected is not None and not self.errors:
                self.errors.append(RuntimeError(f"no call {self._expected[0][side]} this time"))
            # The other must not wait for one that never comes.
            self._expected = None
            self._changed.notify_all()

    def _arrive(self, side: int, visit: KernelCall) -> None:
        with self._changed:
            if self._expected is None:
                return
            self._here[side] = visit
            if None in self._here:
                self._changed.wait_for(
                    lambda: self._expected is None or self._here[side] is not visit
                )
                return
            self._compare_here()
            self._here = [None, None]
            self._changed.notify_all()

    def _compare_here(self) -> None:
        one, other = self._here
        assert one is not None
        assert other is not None
        try:
            if self._expected != ((one.index, other.index), one.before):
                raise RuntimeError(f"calls {one.index} and {other.index} are no pair")
            goes_on = self._visit(one, other)
        except BaseException as error:  # noqa: BLE001  the thread that came last isn't the one to raise it
            self.errors.append(error)
            goes_on = False
        self._expected = next(self._left, None) if goes_on else None
