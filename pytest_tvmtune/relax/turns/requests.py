"""The requests to a side of a comparison in turns, and its answers: plain values."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol


@dataclass(frozen=True, kw_only=True)
class OpenRequest:
    """call: the file that says what is called. outputs: the file to write, if anyone needs them."""

    call: Path
    outputs: Path | None


@dataclass(frozen=True, kw_only=True)
class ArgumentBits:
    """An argument of the entry: runtime inputs, then transformed parameters."""

    shape: tuple[int, ...]
    dtype: str
    digest: str
    size_bytes: int


@dataclass(frozen=True, kw_only=True)
class Opened:
    """A side that has been called once. num_threads: that it really uses."""

    arguments: tuple[ArgumentBits, ...]
    num_threads: int


@dataclass(frozen=True, kw_only=True)
class Slot:
    """The place of an argument in the shared memory. is_written: by this side."""

    index: int
    offset: int
    is_written: bool


@dataclass(frozen=True, kw_only=True)
class PlaceRequest:
    """A new placement of code and tensors.

    memory: the file that both sides map. fixed: the slots of all arrangements. traded: the slots
    that change, by arrangement; one arrangement where there are none.
    """

    memory: Path
    fixed: tuple[Slot, ...]
    traded: tuple[tuple[Slot, ...], ...]


@dataclass(frozen=True, kw_only=True)
class Placed:
    """core: the number of the core that the process was on, None if it isn't known."""

    core: int | None


@dataclass(frozen=True, kw_only=True)
class EnterRequest:
    """The arrangement to use from now on. core: to run on, None for all that are allowed."""

    arrangement: int
    core: int | None


@dataclass(frozen=True, kw_only=True)
class SampleRequest:
    """The number of calls of a sample."""

    arrangement: int
    number: int


@dataclass(frozen=True, kw_only=True)
class Done:
    """An answer without values."""


@dataclass(frozen=True, kw_only=True)
class Sample:
    """mean_s: of one call."""

    mean_s: float


class Side(Protocol):
    """What a process of a comparison in turns answers with."""

    def open(self, request: OpenRequest) -> Opened:
        """Load what is called, and call it once."""

    def place(self, request: PlaceRequest) -> Placed:
        """Place anew what can be placed."""

    def enter(self, request: EnterRequest) -> Done:
        """Use an arrangement from now on, and call once."""

    def sample(self, request: SampleRequest) -> Sample:
        """Return the time of calls that find code and data in the caches."""
