"""Libraries to compare, compiled by the stock pipeline; and jobs, importable in a child."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
from tvm.script import ir as I  # noqa: N812
from tvm.script import relax as R  # noqa: N812

from pytest_tvmtune.core.tensors.signature import Array
from pytest_tvmtune.processes.job import WorkerContext
from pytest_tvmtune.relax import compat
from pytest_tvmtune.relax.measuring.epochs import ComparedArtifacts, interleave, open_measurement
from pytest_tvmtune.relax.measuring.param_groups import ParamGroup
from pytest_tvmtune.relax.measuring.placement import open_copies, place
from pytest_tvmtune.relax.measuring.session import EntryCall
from pytest_tvmtune.store.artifacts import Artifact, Manifest

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

    vector = compat.tensor_type()((1, size), "float32")
    matrix = compat.tensor_type()((size, size), "float32")
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


def compiled(mod: Any, library: Path, *, prepack: bool = False) -> Artifact:
    """Compile a module without records; return the artifact, which is in no store."""
    import tvm
    from tvm import relax

    from pytest_tvmtune.relax.compiling.entry_points import entry_points

    target = tvm.target.Target(TARGET)
    pipeline = relax.pipeline.static_shape_tuning_pipeline(
        total_trials=0,
        target=target,
        work_dir=str(library.with_suffix("")),
        cpu_weight_prepack=prepack,
    )
    lowered = pipeline(mod)
    tvm.compile(lowered, target).export_library(str(library))
    entries = entry_points(lowered, lowered, lowered)
    manifest = Manifest(target=TARGET, tvm="", tvm_ffi="", entries=entries)
    return Artifact(sha256="", library=library, manifest=manifest)


def compared_of(
    baseline: Artifact,
    now: Artifact,
    *others: Artifact,
    params: Sequence[Array],
    x: Array,
    **changes: Any,
) -> ComparedArtifacts:
    """Return artifacts to measure. changes: of its other fields."""
    call = EntryCall(entry="main", target=TARGET, params=tuple(params), inputs=(x,))
    values = {"cold_cache": False, "seed": 1, **changes}
    return ComparedArtifacts(baseline=baseline, now=now, others=others, call=call, **values)


@dataclass(frozen=True, kw_only=True, eq=False)
class Request:
    """large_bytes, budget_bytes: instead of the package's own."""

    compared: ComparedArtifacts
    epochs: int
    large_bytes: int | None = None
    budget_bytes: int | None = None


@dataclass(frozen=True, kw_only=True, eq=False)
class Side:
    """A timer's work: the addresses of inputs and params, and those that kernels read or wrote.

    results: of four calls.
    """

    arguments: list[int]
    touched: set[int]
    results: list[Array]


@dataclass(frozen=True, kw_only=True, eq=False)
class PlacedEpoch:
    """mapped: (address, path) of the code of every placed library."""

    mapped: set[tuple[str, str]]
    arrangements: list[tuple[Side, ...]]


@dataclass(frozen=True, kw_only=True, eq=False)
class Placed:
    """What was placed.

    alone: groups of one tensor; trading: of several. own: addresses of all that is to be copied
    into each epoch. left: files of libraries.
    """

    rivals: tuple[int, ...]
    alone: list[ParamGroup]
    trading: list[ParamGroup]
    own: list[int]
    epochs: list[PlacedEpoch]
    mapped: list[int]
    left: list[str]


def arrange(request: Request, context: WorkerContext[None]) -> Placed:
    """Job: place all sides for some epochs, and watch what their timers do."""
    from pytest_tvmtune.processes.shared_arrays import SharedArray
    from pytest_tvmtune.relax.measuring import placement, session
    from pytest_tvmtune.relax.measuring.timing import make_timer

    if request.large_bytes is not None:
        pytest.MonkeyPatch().setattr(session, "LARGE_BYTES", request.large_bytes)
    measurement = open_measurement(request.compared, context)
    made: dict[int, tuple[Any, list[int]]] = {}

    def watched(machine: Any, vm: Any, entry: str, arguments: Any, **options: Any) -> Any:
        timer = make_timer(machine, vm, entry, arguments, **options)
        made[id(timer)] = (vm, [compat.address_of(tensor) for tensor in arguments])
        return timer

    pytest.MonkeyPatch().setattr(placement, "make_timer", watched)
    rng = random.Random(0)
    copies = placement.open_copies(measurement, context.folder)
    if request.budget_bytes is not None:
        copies.budget_bytes = request.budget_bytes
    epochs = []
    for _ in range(request.epochs):
        made.clear()
        arrangements = placement.place(measurement, copies, rng)
        sides = []
        for arrangement in arrangements:
            for timer in arrangement.timers:
                vm, addresses = made[id(timer)]
                arrangement.enter()
                touched, results = _watch(vm, timer)
                sides.append(Side(arguments=addresses, touched=touched, results=results))
        count = len(measurement.sides)
        rounds = [tuple(sides[at : at + count]) for at in range(0, len(sides), count)]
        epochs.append(PlacedEpoch(mapped=_mapped(), arrangements=rounds))
    return Placed(
        rivals=measurement.rivals,
        alone=[group for group in measurement.groups if len(group) == 1],
        trading=[group for group in measurement.groups if len(group) > 1],
        own=[
            compat.address_of(tensor)
            for tensor in (
                *measurement.inputs,
                *(param for side in measurement.sides for param in side.params),
            )
        ],
        epochs=epochs,
        mapped=[
            sum(isinstance(array, SharedArray) for array in side.arrays)
            for side in measurement.sides
        ],
        left=[path.name for path in context.folder.iterdir() if PLACED in path.name],
    )


def occupy(request: Request, context: WorkerContext[None]) -> list[int]:
    """Job: take epochs; return the bytes this process has in memory after each."""
    measurement = open_measurement(request.compared, context)
    rng = random.Random(0)
    copies = open_copies(measurement, context.folder)
    occupied = []
    for _ in range(request.epochs):
        arrangements = place(measurement, copies, rng)
        with measurement.machine.fixed_affinity():
            interleave(arrangements, rng, number=1, pairs=1)
        occupied.append(psutil.Process().memory_info().rss)
    return occupied


def _watch(vm: Any, timer: Any) -> tuple[set[int], list[Array]]:
    """Take a sample of one call and one of two; return what the kernels touched and computed."""

    touched: set[int] = set()
    results: list[Any] = []

    def instrument(_function: Any, name: str, before: bool, _ret: Any, *tensors: Any) -> int:
        if not before and not name.startswith("vm."):
            touched.update(compat.address_of(tensor) for tensor in tensors)
            if tuple(tensors[-1].shape) == (2, 10):
                results.append(np.array(tensors[-1].numpy()))
        return 0

    vm.set_instrument(instrument)
    timer(1)
    timer(2)
    vm.set_instrument(None)
    return touched, results


def _mapped() -> set[tuple[str, str]]:
    """Return (address, path) of the code of every placed library."""
    lines = [line.split() for line in Path("/proc/self/maps").read_text().splitlines()]
    return {(line[0], line[5]) for line in lines if "x" in line[1] and PLACED in line[-2]}
