"""Watching the kernels of a call, or of two at once, through the Relax VM's instrument.

Nothing is recompiled: what runs is the library under test. Storage is used again by later kernels,
so whoever looks at a tensor does so while its kernel is being called.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pytest_tvmtune.core.kernels import Kernels
from pytest_tvmtune.core.signature import Array

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pytest_tvmtune.relax.session import Session

_MEET_TIMEOUT_S = 600.0


@dataclass(frozen=True, kw_only=True, eq=False)
class Visit:
    """A kernel about to run (`before`), or just done. index: which call of the entry it is."""

    index: int
    name: str
    before: bool
    arguments: Sequence[Any]


@dataclass(frozen=True, kw_only=True, eq=False)
class Watched:
    """A session, the kernels its library has, and its parameters as they were given."""

    session: Session
    kernels: Kernels
    originals: Sequence[Array] = ()


def watch(watched: Watched, visit: Callable[[Visit], None]) -> Any:
    """Call the entry once; `visit` is told of each kernel before and after it ran.

    Returns what the entry returned.
    """
    session, count = watched.session, -1

    def instrument(_function: Any, name: str, before: bool, _ret: Any, *arguments: Any) -> int:
        nonlocal count
        if name in watched.kernels:
            count += before
            visit(Visit(index=count, name=name, before=before, arguments=arguments))
        return 0

    with _instrumented(session.vm, instrument):
        return session.vm[session.entry](*session.inputs, *session.params)


@contextmanager
def _instrumented(vm: Any, instrument: Callable[..., int]) -> Iterator[None]:
    vm.set_instrument(instrument)
    try:
        yield
    finally:
        vm.set_instrument(None)


def watch_both(
    sides: tuple[Watched, Watched],
    pairs: Sequence[tuple[int, int]],
    visit: Callable[[Visit, Visit], bool],
) -> None:
    """Call both entries at once, in step: at each pair of calls each waits for the other.

    visit: is told of each pair, before and after it ran, while both stand still, so that all their
    tensors are there; once it returns False they run on without it. What it raises is raised here.
    """
    meeting = _Meeting(visit)
    maps = [{pair[side]: number for number, pair in enumerate(pairs)} for side in (0, 1)]
    threads = [
        threading.Thread(target=meeting.attend, args=(side, sides[side], maps[side]))
        for side in (0, 1)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if meeting.errors:
        raise meeting.errors[0]


class _Meeting:
    """Where two threads wait for one another."""

    def __init__(self, visit: Callable[[Visit, Visit], bool]) -> None:
        self._visit = visit
        self._barrier = threading.Barrier(2, action=self._meet, timeout=_MEET_TIMEOUT_S)
        self._here: list[Visit | None] = [None, None]
        self._over = False
        self.errors: list[BaseException] = []

    def attend(self, side: int, watched: Watched, numbers: Mapping[int, int]) -> None:
        """Call one side's entry, and come to the meetings of the calls in `numbers`."""

        def come(visit: Visit) -> None:
            if visit.index in numbers and not self._over:
                self._here[side] = visit
                self._barrier.wait()

        try:
            watch(watched, come)
        except BaseException as error:  # noqa: BLE001  raised again by whoever waits for the thread
            self.errors.append(error)
            self._over = True
            # The other must not wait for one that never comes.
            self._barrier.abort()

    def _meet(self) -> None:
        one, other = self._here
        assert one is not None
        assert other is not None
        try:
            self._over = not self._visit(one, other)
        except BaseException as error:  # noqa: BLE001  a barrier would swallow it
            self.errors.append(error)
            self._over = True
