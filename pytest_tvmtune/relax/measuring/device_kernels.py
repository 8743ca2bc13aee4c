"""Watching the kernels of a call on a device, which can't call back: its helper keeps what to see.

Instead of two calls in step, each is made alone, for some kernels at a time.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pytest_tvmtune.relax.devices.noted_calls import NotedCall, noted_calls
from pytest_tvmtune.relax.devices.remote_machine import RemoteMachine

if TYPE_CHECKING:
    from pytest_tvmtune.relax.measuring.session import Session

# Pairs of kernels of which the device keeps copies at a time.
_PAIRS = 4


@dataclass(frozen=True, kw_only=True, eq=False)
class KeptTensor:
    """A copy of a kernel's argument, on the device. address: of the argument itself."""

    copy: Any
    address: int

    @property
    def shape(self) -> Any:
        """Its shape."""
        return self.copy.shape

    @property
    def dtype(self) -> Any:
        """Its dtype."""
        return self.copy.dtype

    def numpy(self) -> Any:
        """Return its values."""
        return self.copy.numpy()


class DeviceCalls:
    """The calls within a call of an entry. call: calls it."""

    def __init__(self, session: Session, kernels: Sequence[str], call: Callable[[], Any]) -> None:
        assert isinstance(session.machine, RemoteMachine)
        self._machine, self._vm, self._call = session.machine, session.vm, call
        self._helper = session.machine.helper
        noted = noted_calls(self._helper, self._vm, call)
        self._copies: dict[tuple[int, bool], Any] = {}
        # Of all calls those of kernels.
        self._places = [place for place, one in enumerate(noted) if one.name in kernels]
        self.kernels: list[NotedCall] = [noted[place] for place in self._places]

    def keep(self, indices: Sequence[int]) -> None:
        """Call the entry, and keep what the kernels with these numbers get and leave.

        The helper keeps the copies of one call: what references them here outlives the next.
        """
        places = [self._places[index] for index in indices]
        self._helper["watch_arguments"](self._vm.module, min(places), max(places))
        try:
            self._call()
        finally:
            self._helper["unwatch"](self._vm.module)
        self._copies = {
            (index, before): self._helper["arguments"](self._places[index], int(not before))
            for index in indices
            for before in (True, False)
        }

    def kept(self, index: int, *, before: bool) -> list[KeptTensor | None]:
        """Return what a kernel got, or left, of those that were kept last."""
        copies = self._machine.unpack(self._copies[index, before])
        return [
            None if copy is None or noted is None else KeptTensor(copy=copy, address=noted.address)
            for copy, noted in zip(copies, self.kernels[index].arguments, strict=True)
        ]


def windows(pairs: Sequence[tuple[int, int]]) -> list[tuple[tuple[int, int], ...]]:
    """Return pairs of kernels in groups of which the device keeps copies at a time."""
    return [tuple(pairs[start : start + _PAIRS]) for start in range(0, len(pairs), _PAIRS)]
