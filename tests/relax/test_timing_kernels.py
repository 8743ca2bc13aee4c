"""What the instrument sees of a call, by the clock."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tvm
from layers import COUNT, TARGET, WEIGHTS, X, build, layers
from tvm import relax

from pytest_tvmtune.core.kernel_times import BUILT_INS, SideTimes, table_of
from pytest_tvmtune.relax.kernel_times import _null, _watch, time_kernels
from pytest_tvmtune.store.artifacts import Manifest


@pytest.fixture
def with_garbage() -> Iterator[None]:
    """Collect it again: a job ends with its child, and turns that off."""
    yield
    gc.enable()


def test_a_relax_function_that_calls_kernels_is_not_counted_beside_them() -> None:
    tensor = relax.TensorType((1,), "float32")
    builder = relax.BlockBuilder()
    x, y = (relax.Var(name, tensor) for name in "xy")
    with builder.function("inner", [y]):
        kernel = builder.add_func(_null(2), "kernel")
        value: Any = y
        for _ in range(3):
            value = builder.emit(relax.call_tir(kernel, (value,), tensor))
        builder.emit_func_output(value)
    with builder.function("main", [x]):
        inner = builder.get().get_global_var("inner")
        builder.emit_func_output(builder.emit(relax.Call(inner, [x])))
    vm = relax.VirtualMachine(tvm.compile(builder.finalize(), "llvm"), tvm.cpu())
    calls = _watch(vm, "main", [tvm.runtime.tensor(np.zeros(1, "float32"))])
    names = [name for name, _, _ in calls]
    assert names.count("kernel") == 3
    assert "inner" not in names
    assert all(seconds > 0 for _, _, seconds in calls)


@pytest.mark.usefixtures("with_garbage")
def test_the_slowed_kernel_costs_most_and_no_other_differs(tmp_path: Path) -> None:
    # Hundreds of times as much work as before: no neighbour's load makes another kernel's of that.
    before, now = (
        build(layers(rounds=rounds), tmp_path / name, prepack=True)
        for name, rounds in (("before", {}), ("now", {4: 500}))
    )
    request = {
        "folder": tmp_path,
        "baseline": before,
        "now": now,
        "entry": "main",
        "target": TARGET,
        "params": WEIGHTS,
        "inputs": [X],
        "cold_cache": False,
        "seed": 0,
        "alone": False,
        "budget_s": 0.0,
    }
    told = time_kernels(request)
    old, new = (SideTimes(**side) for side in told["sides"])
    kernels = [Manifest.from_json(side["manifest"]).kernels for side in (before, now)]
    table = table_of(new, kernels[1], told["overhead_s"], old, kernels[0])
    assert table.rows[0].name.rstrip("1") == "layere"
    assert table.rows[0].cost_s > sum(abs(row.cost_s) for row in table.rows[1:])
    assert [row.name for row in table.rows if row.code_differs] == [table.rows[0].name]
    calls = {row.name: (row.baseline_calls, row.calls) for row in table.rows}
    assert calls.pop(BUILT_INS)[1] > 0
    assert set(calls.values()) == {(1, 1)}
    assert len(calls) == COUNT
    alone = time_kernels({**request, "baseline": now, "alone": True})
    assert alone["sides"][0] is None
    assert alone["sides"][1]["kernels"].keys() == new.kernels.keys()
