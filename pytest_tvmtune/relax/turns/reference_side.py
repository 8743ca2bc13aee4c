"""A side of a comparison in turns that isn't TVM: the model in onnxruntime or torch."""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from pytest_tvmtune.core.clock import monotonic_s
from pytest_tvmtune.core.error_text import cause_of
from pytest_tvmtune.core.errors import ModelError
from pytest_tvmtune.core.tensors.signature import Array
from pytest_tvmtune.processes.messages import read_message
from pytest_tvmtune.relax.devices.machine import cache_flusher, current_core
from pytest_tvmtune.relax.measuring.timing import sample_after_others
from pytest_tvmtune.relax.turns.requests import (
    Done,
    EnterRequest,
    Opened,
    OpenRequest,
    Placed,
    PlaceRequest,
    Sample,
    SampleRequest,
)


@dataclass(frozen=True, kw_only=True, eq=False)
class ReferenceCall:
    """A model, as its `Reference` saved it, and how it is called.

    runtime: its name, as in `Model.references`. cold_cache: each call has empty caches.
    """

    runtime: str
    model: Path
    inputs: tuple[Array, ...]
    num_threads: int
    cold_cache: bool


class ReferenceSide:
    """A model in another runtime, whose threads spin and sleep as they do by default."""

    def __init__(self, folder: Path) -> None:
        """Do nothing yet. folder: of this process."""
        self._folder = folder
        self._allowed = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else set()
        self._request: ReferenceCall
        self._run: Callable[[], object]

    def open(self, request: OpenRequest) -> Opened:
        """Load the model, and call it once. Raises ModelError."""
        self._request = read_message(request.call, ReferenceCall)
        self._run = _runner(self._request)
        try:
            self._run()
        except Exception as error:  # each runtime raises types of its own
            raise ModelError(
                f"{self._request.runtime} can't run the model: {cause_of(error)}"
            ) from error
        gc.disable()
        return Opened(arguments=(), num_threads=self._request.num_threads)

    def place(self, request: PlaceRequest) -> Placed:  # noqa: ARG002  as a `Side`
        """Leave everything in its place: the runtimes have no way to move it."""
        if self._allowed:
            os.sched_setaffinity(0, self._allowed)
        return Placed(core=current_core() if self._allowed else None)

    def enter(self, request: EnterRequest) -> Done:
        """Run on a core from now on, and call once."""
        if request.core is not None and self._allowed:
            os.sched_setaffinity(0, {request.core})
        self._run()
        return Done()

    def sample(self, request: SampleRequest) -> Sample:
        """Return a sample, after one that doesn't count, because the other side had the caches."""
        if self._request.cold_cache:
            return Sample(mean_s=_mean_s(self._run, request.number, cache_flusher()))
        return Sample(mean_s=sample_after_others(partial(_mean_s, self._run), request.number))


def _runner(request: ReferenceCall) -> Callable[[], object]:
    # Copies: arrays of a message are maps of a file.
    inputs = [np.array(array) for array in request.inputs]
    if request.runtime == "onnxruntime":
        from pytest_tvmtune.relax.importing.onnx import onnxruntime_session

        return onnxruntime_session.open_timed(
            request.model, inputs, num_threads=request.num_threads
        )
    # It is left out where TVM is loaded, which needs none.
    if sys.modules.get("torch") is None:
        sys.modules.pop("torch", None)
    from pytest_tvmtune.relax.importing.torch import torch_reference

    return torch_reference.open_timed(request.model, inputs, num_threads=request.num_threads)


def _mean_s(
    run: Callable[[], object], number: int, before: Callable[[], None] | None = None
) -> float:
    """Return the mean seconds of a call. before: is called before each, and isn't timed."""
    if before is None:
        started_s = monotonic_s()
        for _ in range(number):
            run()
        return (monotonic_s() - started_s) / number
    spent_s = 0.0
    for _ in range(number):
        before()
        started_s = monotonic_s()
        run()
        spent_s += monotonic_s() - started_s
    return spent_s / number
