"""One side of a comparison, in the process that has its TVM: `stages/latency/turns.py` asks it.

Inputs and parameters are in memory that both sides map: with copies, the two sides would differ by
some percent for no reason but the place of their copies.
"""

from __future__ import annotations

import gc
import hashlib
import mmap
import os
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from pytest_tvmtune.core.tensors.dtypes import to_plain
from pytest_tvmtune.core.tensors.nested_outputs import flatten
from pytest_tvmtune.core.tensors.signature import Array
from pytest_tvmtune.processes.messages import read_message, write_message
from pytest_tvmtune.relax import compat
from pytest_tvmtune.relax.devices.machine import ThisMachine, current_core
from pytest_tvmtune.relax.devices.targets import device_kind
from pytest_tvmtune.relax.measuring.kernel_instrument import instrumented
from pytest_tvmtune.relax.measuring.session import (
    EntryCall,
    Session,
    call,
    open_requested,
    size_bytes,
)
from pytest_tvmtune.relax.measuring.timing import Timer, make_timer, sample_after_others
from pytest_tvmtune.relax.turns.requests import (
    ArgumentBits,
    Done,
    EnterRequest,
    Opened,
    OpenRequest,
    Placed,
    PlaceRequest,
    Sample,
    SampleRequest,
)
from pytest_tvmtune.store.artifacts import Artifact

# A library with larger constants is loaded once a process: TVM never unmaps it.
MOST_LIBRARY_BYTES = 32 << 20
# They make and pass on storage, and compute nothing.
_OF_THE_VM = "vm.builtin."


@dataclass(frozen=True, kw_only=True, eq=False)
class SideCall:
    """A library, and how it is called. It is read from a file, because it has arrays."""

    artifact: Artifact
    call: EntryCall
    cold_cache: bool


@dataclass(frozen=True, kw_only=True, eq=False)
class SideOutputs:
    """What a side returned, by path. It is written to a file."""

    arrays: tuple[tuple[str, Array], ...]


@dataclass(frozen=True, kw_only=True)
class WatchRequest:
    """A request to watch the first `most_calls` calls within the entry."""

    most_calls: int


@dataclass(frozen=True, kw_only=True)
class WatchedCall:
    """A call of a kernel, or of another function. digest: of all its tensors, after the call."""

    name: str
    digest: str


@dataclass(frozen=True, kw_only=True)
class Watched:
    """Such calls, in order."""

    calls: tuple[WatchedCall, ...]


class LibrarySide:
    """A library under this process's runtime. folder: of this process."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._allowed = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else set()
        self._request: SideCall
        self._session: Session
        self._module: Any = None
        self._moves: list[list[tuple[Any, Any]]] = []
        self._timers: list[Timer] = []
        # Of the last placement: what has to stay in memory.
        self._kept: Any = None

    def open(self, request: OpenRequest) -> Opened:
        """Load the library, transform the parameters, and call the entry once."""
        self._request = read_message(request.call, SideCall)
        artifact, entry_call = self._request.artifact, self._request.call
        self._session = open_requested(
            entry_call,
            ThisMachine(device_kind(compat.Target(entry_call.target))),
            artifact.library,
            artifact.manifest,
        )
        outputs = call(self._session)
        if request.outputs is not None:
            arrays = tuple((path, np.asarray(array)) for path, array in flatten(outputs))
            write_message(request.outputs, SideOutputs(arrays=arrays))
        gc.disable()
        return Opened(
            arguments=tuple(_bits(tensor) for tensor in self._arguments),
            num_threads=self._session.machine.num_threads_used(),
        )

    def watch(self, request: WatchRequest) -> Watched:
        """Call the entry once more, and return what each call in it leaves in its tensors."""
        calls: list[WatchedCall] = []

        def note(_function: Any, name: str, before: bool, _ret: Any, *arguments: Any) -> int:
            is_kept = not name.startswith(_OF_THE_VM) and len(calls) < request.most_calls
            if is_kept and not before:
                tensors = [one for one in arguments if hasattr(one, "numpy")]
                digests = "".join(map(_digest, tensors))
                calls.append(WatchedCall(name=name, digest=digests))
            return 0

        with instrumented(self._session.vm, note):
            call(self._session)
        return Watched(calls=tuple(calls))

    def place(self, request: PlaceRequest) -> Placed:
        """Load a copy of the library at a new place, and put the arguments into shared memory."""
        if self._allowed:
            os.sched_setaffinity(0, self._allowed)
        self._timers, self._moves, self._kept = [], [], None
        self._session.machine.empty_pools()
        memory = _mapped(request.memory)
        vm = self._fresh_vm()
        arguments = list(self._arguments)
        for slot in request.fixed:
            view = _view(memory, slot.offset, arguments[slot.index])
            if slot.is_written:
                view.copyfrom(arguments[slot.index])
            arguments[slot.index] = view
        for number, slots in enumerate(request.traded or ((),)):
            moved, moves = list(arguments), []
            for slot in slots:
                source = self._arguments[slot.index]
                moved[slot.index] = _view(memory, slot.offset, source)
                moves.append((source, moved[slot.index]))
            self._moves.append(moves)
            self._timers.append(
                make_timer(
                    self._session.machine,
                    vm,
                    self._request.call.entry,
                    moved,
                    saved_as=f"arranged_{number}",
                    cold_cache=self._request.cold_cache,
                )
            )
        self._kept = vm, memory
        return Placed(core=current_core() if self._allowed else None)

    def enter(self, request: EnterRequest) -> Done:
        """Put the arguments that trade places where an arrangement has them, and call once."""
        if request.core is not None and self._allowed:
            os.sched_setaffinity(0, {request.core})
        for source, view in self._moves[request.arrangement]:
            view.copyfrom(source)
        self._timers[request.arrangement](1)
        return Done()

    def sample(self, request: SampleRequest) -> Sample:
        """Return a sample, after one that doesn't count, because the other side had the caches."""
        timer = self._timers[request.arrangement]
        take = timer if self._request.cold_cache else partial(sample_after_others, timer)
        return Sample(mean_s=take(request.number))

    @property
    def _arguments(self) -> tuple[Any, ...]:
        return (*self._session.inputs, *self._session.params)

    def _fresh_vm(self) -> Any:
        library, machine = self._request.artifact.library, self._session.machine
        if self._module is None or library.stat().st_size <= MOST_LIBRARY_BYTES:
            self._module = machine.load_copy(library, self._folder)
        return machine.virtual_machine(self._module)


def _mapped(path: Path) -> Any:
    """Return the bytes of a file as an array; changes are seen by all who map it."""
    with path.open("r+b") as file:
        return np.frombuffer(mmap.mmap(file.fileno(), 0), np.uint8)


def _view(memory: Any, offset: int, tensor: Any) -> Any:
    import tvm

    size = size_bytes(tensor)
    if not size:
        return tensor
    raw = tvm.runtime.from_dlpack(memory[offset : offset + size])
    return raw._create_view(tensor.shape, tensor.dtype)  # noqa: SLF001


def _bits(tensor: Any) -> ArgumentBits:
    return ArgumentBits(
        shape=tuple(int(size) for size in tensor.shape),
        dtype=str(tensor.dtype),
        digest=_digest(tensor),
        size_bytes=size_bytes(tensor),
    )


def _digest(tensor: Any) -> str:
    return hashlib.sha256(np.ascontiguousarray(to_plain(tensor.numpy())).data).hexdigest()
