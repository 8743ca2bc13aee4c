"""The jobs that use a device, in this process: what they ask of it, and what comes back."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pytest_tvmtune.core.comparing.tolerances import Tolerance
from pytest_tvmtune.core.errors import ChildError, DeviceLostError, MissingDeviceError
from pytest_tvmtune.core.settings.rpc_address import RpcAddress
from pytest_tvmtune.processes.job import WorkerContext
from pytest_tvmtune.relax.devices import lost_device, probe_job
from pytest_tvmtune.relax.devices.rpc_connection import count_devices
from pytest_tvmtune.relax.diagnosing import divergence_job
from pytest_tvmtune.relax.measuring import (
    call_job,
    call_times_job,
    gate_job,
    kernel_times_job,
)
from pytest_tvmtune.relax.measuring.epochs import ComparedArtifacts
from pytest_tvmtune.relax.tuning.candidates.candidate_timing import MeasuringState
from pytest_tvmtune.stages.devices import device_job
from pytest_tvmtune.stages.job_context import entry_call, job_context
from pytest_tvmtune.stages.tuned_build import counterpart_build
from tests.support.cases import build_of
from tests.support.modules import OpenCase, TwoLayers

RNG = np.random.default_rng(3)
X, V, W = (
    RNG.standard_normal(shape).astype("float32") / 6 for shape in ((4, 48), (48, 48), (48, 48))
)


@pytest.fixture(autouse=True)
def with_garbage() -> Iterator[None]:
    """Collect it again: a job ends with its child, and turns that off."""
    yield
    gc.enable()
    gc.collect()


def test_each_job_has_the_device_and_leaves_it(
    on_device: OpenCase, two_devices: RpcAddress, tmp_path: Path
) -> None:
    case = on_device(TwoLayers, prepack=True, params=[V, W], inputs=[X])
    now, plain = build_of(case).artifact, counterpart_build(case).artifact
    assert case.remote is not None
    context = WorkerContext[Any](folder=tmp_path)
    asked = probe_job.Request(address=two_devices, helper=case.remote.helper, wait_s=30)
    found = probe_job.run(asked, context)
    assert found.fingerprint == case.machine
    assert found.ffi_version == found.own_ffi_version
    assert found.round_trip_s < 1
    call = entry_call(case)
    timing = call_job.SampleRequest(samples=3, min_sample_s=0.001, budget_s=1)
    called = call_job.run(
        call_job.Request(library=now.library, manifest=now.manifest, call=call, timing=timing),
        context,
    )
    assert call_job.outputs_of(called).shape == (4, 48)
    assert len(called.samples_s) == 3
    both = ComparedArtifacts(baseline=plain, now=now, call=call, cold_cache=False, seed=1)
    limit = gate_job.Limit(threshold=case.options.threshold, alpha=0.1)
    gate = gate_job.Request(
        compared=replace(both, others=(now,)),
        max_time_s=0.2,
        limit=limit,
        other_limits=(limit,),
        tell_noise=False,
    )
    measured = gate_job.run(gate, context)
    # Each has its epochs until it's decided.
    assert measured.epochs
    assert measured.other_epochs[0]
    same = ComparedArtifacts(baseline=now, now=now, call=call, cold_cache=False, seed=1)
    calls = call_times_job.Request(compared=same, budget_s=0.1, most_calls=40)
    assert 20 <= len(call_times_job.run(calls, context).calls_s) <= 42
    timed = kernel_times_job.run(
        kernel_times_job.Request(compared=both, alone=False, budget_s=0.1), context
    )
    assert timed.baseline is not None
    assert timed.now.kernels
    search = divergence_job.Request(
        now=now,
        reference=plain,
        call=call,
        tolerance=Tolerance(),
        against="it",
        reproducer=tmp_path / "reproducer",
        records={},
    )
    assert divergence_job.run(search, context).kind == "none"
    state = MeasuringState(case.remote, "cpu", case.num_threads)
    state.have_device()
    arguments = state.arguments([["TENSOR", "float32", [4]], ["TENSOR", "int32", [2]]])
    assert arguments[1].numpy().tolist() == [0, 0]
    state.release_device()
    assert count_devices(two_devices, wait_s=5) == 2
    missing = RpcAddress(host=two_devices.host, port=two_devices.port, key="none")
    with pytest.raises(MissingDeviceError, match="no device with the key"):
        probe_job.run(
            probe_job.Request(address=missing, helper=case.remote.helper, wait_s=0), context
        )


def test_what_is_lost_once_is_done_again(
    on_device: OpenCase, monkeypatch: pytest.MonkeyPatch
) -> None:
    case = on_device(TwoLayers, params=[V, W], inputs=[X])
    losses = [1]

    def run(*_: Any) -> str:
        if losses and losses.pop():
            raise DeviceLostError("it is gone")
        return "done"

    monkeypatch.setattr(device_job, "run_job", run)
    context = job_context(case, "run")
    assert device_job.run_device_job(call_job.JOB, None, context) == "done"
    losses[:] = [1, 1]
    with pytest.raises(ChildError, match="the same happened before"):
        device_job.run_device_job(call_job.JOB, None, context)


def test_a_lost_connection_is_told_whatever_was_raised_from_it() -> None:
    @lost_device.telling_lost_devices
    def run() -> None:
        try:
            raise RuntimeError("Socket SockChannel::Recv Error:Connection reset by peer")
        except RuntimeError as error:
            raise ValueError("it isn't a library") from error

    with pytest.raises(DeviceLostError):
        run()
