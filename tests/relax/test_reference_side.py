"""The side of a comparison that runs onnxruntime, in this process."""

from __future__ import annotations

import gc
import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from pytest_tvmtune.core.errors import ModelError
from pytest_tvmtune.processes.messages import write_message
from pytest_tvmtune.relax.turns.reference_side import ReferenceCall, ReferenceSide
from pytest_tvmtune.relax.turns.requests import (
    EnterRequest,
    OpenRequest,
    PlaceRequest,
    SampleRequest,
)
from tests.plugin.onnx_files import write_linear


@pytest.fixture(autouse=True)
def _process_as_before() -> Iterator[None]:
    allowed = os.sched_getaffinity(0)
    yield
    os.sched_setaffinity(0, allowed)
    gc.enable()


def opened(folder: Path, width: int, *, cold_cache: bool = False) -> ReferenceSide:
    call = ReferenceCall(
        runtime="onnxruntime",
        model=write_linear(folder / "model.onnx"),
        inputs=(np.ones((2, width), "float32"),),
        num_threads=1,
        cold_cache=cold_cache,
    )
    write_message(folder / "call", call)
    side = ReferenceSide(folder)
    found = side.open(OpenRequest(call=folder / "call", outputs=None))
    assert (found.arguments, found.num_threads) == ((), 1)
    return side


@pytest.mark.parametrize("cold_cache", [False, True])
def test_a_model_is_timed(tmp_path: Path, *, cold_cache: bool) -> None:
    side = opened(tmp_path, 4, cold_cache=cold_cache)
    placed = side.place(PlaceRequest(memory=tmp_path / "unused", fixed=(), traded=()))
    side.enter(EnterRequest(arrangement=0, core=placed.core))
    assert os.sched_getaffinity(0) == {placed.core}
    assert 0 < side.sample(SampleRequest(arrangement=0, number=3)).mean_s < 1


def test_inputs_that_do_not_fit(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="onnxruntime"):
        opened(tmp_path, 5)
