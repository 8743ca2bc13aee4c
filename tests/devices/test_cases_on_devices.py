"""Models on a device: what is computed there, measured there, tuned there, and found there."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tvm
from tvm import relax

from pytest_tvmtune.core.comparing.tolerances import Tolerance
from pytest_tvmtune.core.errors import DeviceError, ModelError
from pytest_tvmtune.core.gating.confidence_sequence import fewest_epochs, item_alpha
from pytest_tvmtune.core.settings.rpc_address import RpcAddress
from pytest_tvmtune.core.tensors.nested_outputs import flatten
from pytest_tvmtune.relax import compat
from pytest_tvmtune.relax.compiling.entry_points import entry_points
from pytest_tvmtune.relax.compiling.kernel_descriptions import (
    compile_module,
    describe,
    write_kernels,
)
from pytest_tvmtune.relax.devices.machine import ThisMachine
from pytest_tvmtune.relax.devices.remote_machine import RemoteMachine, open_remote
from pytest_tvmtune.relax.devices.rpc_connection import connect
from pytest_tvmtune.relax.measuring.session import open_session
from pytest_tvmtune.stages.compiling import load
from pytest_tvmtune.stages.explaining.divergence_search import first_divergence
from pytest_tvmtune.stages.latency.latency_gate import judge_latency
from pytest_tvmtune.stages.latency.paired_measurement import time_kernels
from pytest_tvmtune.stages.tuned_build import counterpart_build, load_and_call, reference_build
from pytest_tvmtune.store import artifacts
from pytest_tvmtune.store.layout import Store
from tests.devices.native_server import build_native_server, native_server
from tests.relax.libraries import ThreeKinds
from tests.support.cases import accept, build_of, build_with_records, opener
from tests.support.modules import OpenCase, TwoLayers

RNG = np.random.default_rng(3)
X, V, W = (
    RNG.standard_normal(shape).astype("float32") / 6 for shape in ((4, 48), (48, 48), (48, 48))
)
GIVEN: dict[str, Any] = {"params": [V, W], "inputs": [X]}


@pytest.mark.each_version
@pytest.mark.parametrize("prepack", [False, True])
def test_the_same_library_computes_the_same_bits_there(
    on_device: OpenCase, store: Store, prepack: bool
) -> None:
    there = on_device(TwoLayers, prepack=prepack, **GIVEN)
    here = opener(store)(TwoLayers, prepack=prepack, **GIVEN)
    built = build_of(there)
    assert built.artifact.sha256 == build_of(here).artifact.sha256
    loaded, outputs = load_and_call(there, built)
    assert np.array_equal(outputs, load_and_call(here, built)[1])
    assert (loaded.transform_s is not None) == prepack
    assert loaded.num_threads == there.num_threads
    other = X[::-1].copy()
    assert np.array_equal(loaded.outputs([other]), load(here, built).outputs([other]))
    with pytest.raises(ModelError, match="runs on a device"):
        loaded.vm()


def test_every_parameter_is_transformed_as_the_library_does_it_here(
    on_device: OpenCase, two_devices: RpcAddress
) -> None:
    """One stays as it is, one is transposed, one is there twice: bit by bit the same."""
    params = [RNG.standard_normal(shape).astype("float32") for shape in ((8, 8), (8, 5))]
    case = on_device(
        ThreeKinds,
        prepack=True,
        params=[*params, np.float32(0.5).reshape(())],
        inputs=[np.ones((2, 8), "float32")],
    )
    artifact = build_of(case).artifact
    assert case.remote is not None
    there = RemoteMachine(connect(two_devices, wait_s=30, session_s=60), case.remote.helper)
    sessions = [
        open_session(
            artifact.library,
            "main",
            artifact.manifest.entries["main"],
            params=case.model.params,
            inputs=case.model.inputs,
            machine=machine,
        )
        for machine in (ThisMachine("cpu"), there)
    ]
    here, remote = ([one.numpy() for one in session.params] for session in sessions)
    there.close()
    assert [one.shape for one in here] == [one.shape for one in remote]
    assert all(np.array_equal(one, other) for one, other in zip(here, remote, strict=True))
    assert sessions[0].transform_extra_bytes == sessions[1].transform_extra_bytes


def nested() -> Any:
    """Return a model that returns a tuple in a tuple, and its own input with it."""
    x = relax.Var("x", compat.tensor_type()((4, 48), "float16"))
    builder = relax.BlockBuilder()
    with builder.function("main", [x], attrs={"num_input": 1}):
        with builder.dataflow():
            inner = relax.Tuple([builder.emit(relax.op.add(x, x)), x])
            result = builder.emit_output(relax.Tuple([builder.emit(relax.op.nn.relu(x)), inner]))
        builder.emit_func_output(result)
    return builder.finalize()


def test_outputs_keep_their_nesting(on_device: OpenCase, store: Store) -> None:
    given = X.astype("float16")
    case = on_device(nested(), inputs=[given])
    outputs = load_and_call(case, build_of(case))[1]
    assert [path for path, _ in flatten(outputs)] == ["output[0]", "output[1][0]", "output[1][1]"]
    wanted = (np.maximum(given, 0), given + given, given)
    pairs = zip(flatten(outputs), wanted, strict=True)
    assert all(np.array_equal(got, expected) for (_, got), expected in pairs)


def test_tuned_on_all_devices_nothing_is_measured_twice(on_device: OpenCase, store: Store) -> None:
    case = on_device(TwoLayers, prepack=True, settings={"trials": 8}, **GIVEN)
    built = build_with_records(case)
    assert built.build.applied
    lines = [
        json.loads(line)
        for path in store.tuning.rglob("*.jsonl")
        for line in path.read_text().splitlines()
    ]
    records = [line for line in lines if line["kind"] == "record"]
    assert {record["cpu"] for record in records} == {case.machine.cpu}
    assert case.machine.cpu.endswith("[x86]")
    traces = [json.dumps(record["data"][0]) for record in records]
    assert len(traces) == len(set(traces))
    outputs = load_and_call(case, built)[1]
    reference = reference_build(case, built)
    assert reference is not None
    np.testing.assert_allclose(outputs, load_and_call(case, reference)[1], rtol=1e-4, atol=1e-5)
    for other in (reference, counterpart_build(case)):
        told = first_divergence(case, built, other, against="it", tolerance=Tolerance())
        assert (told.kind, told.calls) == ("none", 2)


def test_the_gate_measures_there(on_device: OpenCase) -> None:
    settings = {"threshold": "60%", "max_time": "30s"}
    case = on_device(TwoLayers, settings=settings, **GIVEN)
    built = build_of(case)
    baseline = accept(case, built)
    assert baseline.fingerprint["cpu"] == case.machine.cpu
    same = judge_latency(case, built, load(case, built), baseline).latency
    assert (same.verdict, same.same_code) == ("PASS", True)
    more_threads = replace(baseline, num_threads=baseline.num_threads + 1)
    measured = judge_latency(case, built, load(case, built), more_threads).latency
    assert measured.verdict == "PASS"
    assert measured.epochs >= fewest_epochs(item_alpha(1))
    assert measured.placements > 1


@pytest.mark.parametrize("cold_cache", [False, True])
def test_kernels_are_timed_there(on_device: OpenCase, cold_cache: bool) -> None:
    case = on_device(TwoLayers, settings={"cold_cache": cold_cache}, **GIVEN)
    table = time_kernels(case, build_of(case).artifact, budget_s=0.5)
    assert {row.name for row in table.rows} > set(build_of(case).artifact.manifest.kernels)
    assert all(0 < row.now_s < 1 for row in table.rows)


def halved(mod: Any) -> Any:
    """Return a lowered module in which relu cuts off at 0.5."""
    changed = dict(mod.functions_items())
    for variable, function in changed.items():
        if "relu" in str(variable.name_hint):
            text = function.script().replace("T.float32(0.0)", "T.float32(0.5)")
            assert text != function.script()
            mod[variable] = tvm.script.from_source(text).with_attrs(dict(function.attrs))
    return mod


def test_a_wrong_kernel_is_found_there(on_device: OpenCase, tmp_path: Path) -> None:
    """The device keeps both sides' arguments: the one is compared with the other."""
    case = on_device(TwoLayers, **GIVEN)
    right = build_of(case)
    target = tvm.target.Target(case.target_json)
    pipeline = relax.pipeline.static_shape_tuning_pipeline(
        total_trials=0, target=target, work_dir=str(tmp_path / "work_dir")
    )
    lowered = halved(pipeline(case.model.mod))
    executable, compiled, planned = compile_module(lowered, target)
    executable.export_library(str(tmp_path / artifacts.LIBRARY))
    write_kernels(compiled, tmp_path / artifacts.KERNELS)
    names = {task.name: (task.shash, "") for task in right.plan.tasks}
    manifest = replace(
        right.artifact.manifest,
        entries=entry_points(lowered, compiled, planned),
        kernels=describe(compiled, names),
    )
    artifact = artifacts.publish(case.store, tmp_path / artifacts.LIBRARY, manifest)
    wrong = replace(right, artifact=artifact)
    told = first_divergence(case, wrong, right, against="it", tolerance=Tolerance())
    assert (told.kind, told.call) == ("kernel", 0)
    assert "relu" in told.kernel
    assert Path(told.reproducer).is_dir()


def test_threads_are_those_that_are_asked_for(on_device: OpenCase, two_devices: RpcAddress) -> None:
    case = on_device(TwoLayers, settings={"num_threads": 2}, **GIVEN)
    assert case.remote is not None
    machine = open_remote(case.remote, kind="cpu", num_threads=2, session_s=60.0)
    assert machine.num_threads_used() == 2
    machine.close()
    assert str(two_devices) == str(case.remote.address)


def test_devices_of_one_key_are_alike(on_device: OpenCase) -> None:
    case = on_device(TwoLayers, **GIVEN)
    assert case.remote is not None
    other = replace(case.remote, fingerprint=replace(case.remote.fingerprint, cpu="another"))
    with pytest.raises(DeviceError, match=r"the devices at .* differ \(another, and "):
        open_remote(other, kind="cpu", num_threads=1, session_s=60.0)


def test_a_server_without_python_is_enough(
    store: Store, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("native")
    command = build_native_server(folder)
    with native_server(command, folder, key="") as (host, port):
        settings = {"rpc": f"{host}:{port}", "trials": 4}
        case = opener(store)(TwoLayers, prepack=True, settings=settings, **GIVEN)
        built = build_with_records(case)
        assert built.build.applied
        outputs = load_and_call(case, built)[1]
        table = time_kernels(case, built.artifact, budget_s=0.1)
        assert len(table.rows) == 2
    here = opener(store)(TwoLayers, **GIVEN)
    np.testing.assert_allclose(
        outputs, load_and_call(here, build_of(here))[1], rtol=1e-4, atol=1e-5
    )
