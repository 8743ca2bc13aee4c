"""Large parameters: in files that the children share, the transformed ones, too."""

from __future__ import annotations

import gc

import numpy as np
import pytest

from pytest_tvmtune.processes.shared_arrays import SharedArray
from pytest_tvmtune.relax import compat, model
from pytest_tvmtune.relax.measuring import session
from pytest_tvmtune.stages.devices.loaded_model import ModelHere
from pytest_tvmtune.stages.latency.latency_gate import judge_latency
from pytest_tvmtune.stages.tuned_build import load_and_call
from tests.support.cases import accept, build_of, counterpart_outputs
from tests.support.modules import OpenCase, Square

RNG = np.random.default_rng(3)
X, W = RNG.standard_normal((2, 8), "float32"), RNG.standard_normal((8, 8), "float32")


def test_a_large_model_on_its_way(open_: OpenCase, monkeypatch: pytest.MonkeyPatch) -> None:
    small = open_(Square, params=[W], inputs=[X])
    assert small.model.params[0] is W
    for module in (model, session):
        monkeypatch.setattr(module, "LARGE_BYTES", 1)
    case = open_(Square, params=[W], inputs=[X], prepack=True)
    (param,) = case.model.params
    scratch = case.store.scratch
    assert isinstance(param, SharedArray)
    assert case.model.data_digest == small.model.data_digest
    built = build_of(case)
    opened, outputs = load_and_call(case, built)
    assert isinstance(opened, ModelHere)
    np.testing.assert_allclose(outputs, X @ W.T, rtol=1e-5)
    np.testing.assert_allclose(counterpart_outputs(case), outputs, rtol=1e-5)
    # The weight as it was given, and as the kernels want it.
    assert [array.ctypes.data for array in opened._session.arrays[1:]] == addresses(opened._session)
    baseline = accept(case, built)
    latency = judge_latency(case, built, opened, baseline).latency
    assert latency.verdict == "PASS"
    assert latency.samples_s
    assert len(list(scratch.glob("shared-*"))) == 1
    del case, built, opened, latency, param
    gc.collect()
    assert list(scratch.glob("shared-*")) == []


def addresses(opened: session.Session) -> list[int]:
    return [compat.address_of(tensor) for tensor in opened.params]
