"""Libraries to compare, compiled by the stock pipeline; and jobs, importable in a child."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
from tvm.script import ir as I  # noqa: N812
from tvm.script import relax as R  # noqa: N812

TARGET = '{"kind": "llvm", "num-cores": 1}'
PLACED = "placed-"


@I.ir_module
class ThreeKinds:
    """Prepacked, `s` stays as it is, `w` is transposed, and of `v` there are two."""

    @R.function
    def main(
        x: R.Tensor((2, 8), "float32"),  # noqa: N805  no method
        w: R.Tensor((8, 8), "float32"),
        v: R.Tensor((8, 5), "float32"),
        s: R.Tensor((), "float32"),
    ) -> R.Tensor((2, 10), "float32"):
        R.func_attr({"num_input": 1})
        with R.dataflow():
            wt = R.permute_dims(w)
            vv = R.concat((v, v), axis=1)
            y = R.matmul(x, wt)
            z = R.matmul(y, vv)
            gv = R.multiply(z, s)
            R.output(gv)
        return gv


def products(count: int, size: int) -> Any:
    """Return a module with so many square parameters: x is multiplied by one after the other."""
    from tvm import relax

    vector = relax.TensorType((1, size), "float32")
    matrix = relax.TensorType((size, size), "float32")
    x = relax.Var("x", vector)
    params = [relax.Var(f"w{index}", matrix) for index in range(count)]
    builder = relax.BlockBuilder()
    with builder.function("main", [x, *params], attrs={"num_input": 1}):
        with builder.dataflow():
            value = x
            for param in params:
                value = builder.emit(relax.op.matmul(value, param))
            result = builder.emit_output(value)
        builder.emit_func_output(result)
    return builder.finalize()


def compiled(mod: Any, library: Path, *, prepack: bool = False) -> dict[str, Any]:
    """Compile a module without records; return what requests say of one side."""
    import tvm
    from tvm import relax

    from pytest_tvmtune.relax.compiling.compile_job import _entry_points
    from pytest_tvmtune.store.artifacts import Manifest

    target = tvm.target.Target(TARGET)
    pipeline = relax.pipeline.static_shape_tuning_pipeline(
        total_trials=0,
        target=target,
        work_dir=str(library.with_suffix("")),
        cpu_weight_prepack=prepack,
    )
    lowered = pipeline(mod)
    tvm.compile(lowered, target).export_library(str(library))
    manifest = Manifest(target=TARGET, tvm="", tvm_ffi="", entries=_entry_points(lowered, lowered))
    return {"library": str(library), "manifest": manifest.to_json()}


def arrange(request: dict[str, Any]) -> dict[str, Any]:
    """Job: place baseline and now for some epochs, and watch what their timers do.

    Returns the addresses of all that is to be copied into each epoch, and of each epoch: where
    placed libraries are mapped, and its arrangements, each as two sides with the addresses of
    inputs and params, those that kernels read or wrote in four calls, and the results of these.
    """
    from pytest_tvmtune.processes.shared_arrays import SharedArray
    from pytest_tvmtune.relax.measuring import placement, session
    from pytest_tvmtune.relax.measuring.measure_pair_job import open_measurement
    from pytest_tvmtune.relax.measuring.session import _address
    from pytest_tvmtune.relax.measuring.timing import make_timer

    if "large_bytes" in request:
        pytest.MonkeyPatch().setattr(session, "LARGE_BYTES", request["large_bytes"])
    measurement = open_measurement({**request, "target": TARGET, "cold_cache": False})
    made: dict[int, tuple[Any, list[int]]] = {}

    def watched(vm: Any, entry: str, arguments: Any, *args: Any, **options: Any) -> Any:
        timer = make_timer(vm, entry, arguments, *args, **options)
        made[id(timer)] = (vm, [_address(tensor) for tensor in arguments])
        return timer

    pytest.MonkeyPatch().setattr(placement, "make_timer", watched)
    rng = random.Random(0)
    copies = placement.open_copies(measurement, request["folder"])
    copies.budget_bytes = request.get("budget_bytes", copies.budget_bytes)
    epochs = []
    for _ in range(request["epochs"]):
        made.clear()
        arrangements = placement.place(measurement, copies, rng)
        sides = []
        for arrangement in arrangements:
            for timer in arrangement.timers:
                vm, addresses = made[id(timer)]
                arrangement.enter()
                sides.append({"arguments": addresses, **_watch(vm, timer)})
        epochs.append(
            {"mapped": _mapped(), "arrangements": list(zip(sides[::2], sides[1::2], strict=True))}
        )
    return {
        "shared": measurement.shared,
        "traded": measurement.traded,
        "own": [
            _address(tensor)
            for tensor in (
                *measurement.inputs,
                *measurement.baseline.params,
                *measurement.now.params,
            )
        ],
        "epochs": epochs,
        "mapped": [
            sum(isinstance(array, SharedArray) for array in side.arrays)
            for side in (measurement.baseline, measurement.now)
        ],
        "left": [path.name for path in request["folder"].iterdir() if PLACED in path.name],
    }


def occupy(request: dict[str, Any]) -> list[int]:
    """Job: take epochs; return the bytes this process has in memory after each."""
    from pytest_tvmtune.relax.measuring.measure_pair_job import open_measurement, take_epoch
    from pytest_tvmtune.relax.measuring.placement import open_copies, place

    measurement = open_measurement({**request, "target": TARGET, "cold_cache": False})
    rng = random.Random(0)
    copies = open_copies(measurement, request["folder"])
    occupied = []
    for _ in range(request["epochs"]):
        take_epoch(place(measurement, copies, rng), rng, number=1, pairs=1)
        occupied.append(psutil.Process().memory_info().rss)
    return occupied


def _watch(vm: Any, timer: Any) -> dict[str, Any]:
    """Take a sample of one call and one of two; tell what the kernels touched and computed."""
    from pytest_tvmtune.relax.measuring.session import _address

    touched: set[int] = set()
    results: list[Any] = []

    def instrument(_function: Any, name: str, before: bool, _ret: Any, *tensors: Any) -> int:
        if not before and not name.startswith("vm."):
            touched.update(_address(tensor) for tensor in tensors)
            if tuple(tensors[-1].shape) == (2, 10):
                results.append(np.array(tensors[-1].numpy()))
        return 0

    vm.set_instrument(instrument)
    timer(1)
    timer(2)
    vm.set_instrument(None)
    return {"touched": touched, "results": results}


def _mapped() -> set[tuple[str, str]]:
    """Return (address, path) of the code of every placed library."""
    lines = [line.split() for line in Path("/proc/self/maps").read_text().splitlines()]
    return {(line[0], line[5]) for line in lines if "x" in line[1] and PLACED in line[-2]}
