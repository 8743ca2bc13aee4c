"""Two calls in step: with virtual machines that only tell the instrument what they call."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from pytest_tvmtune.core.kernels.matching import Kernel
from pytest_tvmtune.relax.devices.machine import ThisMachine
from pytest_tvmtune.relax.measuring.kernel_instrument import (
    InstrumentedSession,
    KernelCall,
    call_both_watched,
)


class Machine:
    """Calls these kernels, whatever the entry; `fails` instead of the last of them."""

    def __init__(self, *names: str, fails: bool = False) -> None:
        self.names = names
        self.fails = fails
        self.instrument: Callable[..., int] | None = None

    def set_instrument(self, instrument: Callable[..., int] | None) -> None:
        self.instrument = instrument

    def __getitem__(self, _entry: str) -> Callable[[], None]:
        return self.run

    def run(self) -> None:
        assert self.instrument is not None
        for number, name in enumerate(self.names):
            if self.fails and number == len(self.names) - 1:
                raise ValueError("it crashed")
            for before in (True, False):
                self.instrument(None, name, before, None, f"{name} of {number}")


def watched(*names: str, fails: bool = False) -> InstrumentedSession:
    session: Any = SimpleNamespace(
        machine=ThisMachine("cpu"),
        vm=Machine(*names, fails=fails),
        entry="main",
        inputs=(),
        params=(),
    )
    return InstrumentedSession(
        session=session, kernels={name: Kernel(outputs=(0,)) for name in "abc"}
    )


def test_each_pair_is_seen_before_and_after_it_ran() -> None:
    seen: list[tuple[int, int, bool, Any, Any]] = []

    def visit(one: KernelCall, other: KernelCall) -> bool:
        assert one.before == other.before
        seen.append((one.index, other.index, one.before, *one.arguments, *other.arguments))
        return True

    # What is no kernel isn't counted.
    sides = watched("a", "vm.builtin", "b", "c"), watched("c", "a", "b", "b", "c")
    call_both_watched(sides, [(0, 1), (1, 2), (2, 4)], visit)
    assert [row[:3] for row in seen] == [
        (0, 1, True), (0, 1, False), (1, 2, True), (1, 2, False), (2, 4, True), (2, 4, False),
    ]  # fmt: skip
    assert seen[2][3:] == ("b of 2", "b of 2")


def test_after_false_both_run_on_alone() -> None:
    seen: list[int] = []

    def visit(one: KernelCall, _other: KernelCall) -> bool:
        seen.append(one.index)
        return False

    call_both_watched((watched("a", "b"), watched("a", "b")), [(0, 0), (1, 1)], visit)
    assert seen == [0]


def raises(_one: KernelCall, _other: KernelCall) -> bool:
    raise ValueError("not comparable")


@pytest.mark.parametrize(
    ("sides", "visit", "message"),
    [
        ((watched("a", "b"), watched("a", "b")), raises, "not comparable"),
        ((watched("a", "b"), watched("a", "b", fails=True)), None, "it crashed"),
        ((watched("a", "b", fails=True), watched("a", "b")), None, "it crashed"),
        ((watched("a", "b"), watched("a")), None, "no call 1 this time"),
        ((watched("a"), watched("a", "b")), None, "no call 1 this time"),
    ],
    ids=["a visit", "the second", "the first", "fewer calls", "fewer of the first"],
)
def test_what_goes_wrong_on_one_side_keeps_nobody_waiting(
    sides: tuple[InstrumentedSession, InstrumentedSession], visit: Any, message: str
) -> None:
    with pytest.raises((ValueError, RuntimeError), match=message):
        call_both_watched(sides, [(0, 0), (1, 1)], visit or (lambda one, other: True))
