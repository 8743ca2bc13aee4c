"""Schedules of similar workloads as first candidates: they apply, and compute the same."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import tvm
from hypothesis import given
from hypothesis import strategies as st
from tvm import te, topi
from tvm.s_tir.meta_schedule import TuneContext

from pytest_tvmtune.relax import compat
from pytest_tvmtune.relax.tuning.intrinsics import import_intrinsics
from pytest_tvmtune.relax.tuning.task_search import structural_hash
from pytest_tvmtune.relax.tuning.transfer import (
    MOST_ATTEMPTS,
    SCHEDULES_EACH,
    Donor,
    blocks_of,
    rounded_tiles,
    transferred,
)

TARGET = {"kind": "llvm", "num-cores": 2}


@given(
    tiles=st.lists(st.integers(1, 64), min_size=1, max_size=5),
    extent=st.integers(1, 4096),
    max_innermost=st.integers(0, 64),
)
def test_rounded_tiles_divide_the_loop(tiles: list[int], extent: int, max_innermost: int) -> None:
    rounded = rounded_tiles(tiles, extent, max_innermost)
    assert len(rounded) == len(tiles)
    assert math.prod(rounded) == extent
    assert len(tiles) == 1 or rounded[-1] <= max(1, max_innermost)


@given(tiles=st.lists(st.integers(1, 16), min_size=2, max_size=4))
def test_tiles_of_a_loop_as_long_stay(tiles: list[int]) -> None:
    assert rounded_tiles(tiles, math.prod(tiles), 64) == tiles


@pytest.mark.parametrize(
    ("extent", "expected"),
    [
        (64, [1, 4, 16]),  # as the donor's: 2 x 4 x 16
        (96, [2, 3, 16]),
        (10, [1, 1, 10]),
        (7, [1, 1, 7]),
        (1, [1, 1, 1]),
    ],
)
def test_inner_tiles_stay_as_close_as_possible(extent: int, expected: list[int]) -> None:
    assert rounded_tiles([2, 4, 16], extent, 64) == expected


def dense(rows: int, columns: int, inner: int, *, epilogue: str = "") -> Any:
    """Return a workload: a product of matrices, and what is fused with it."""
    a = te.placeholder((rows, inner), name="a")
    b = te.placeholder((inner, columns), name="b")
    out = topi.matmul(a, b)
    if epilogue == "relu":
        out = topi.nn.relu(out)
    function = te.create_prim_func([a, b, out])
    return compat.IRModule({"main": function})


def context_of(mod: Any) -> Any:
    import_intrinsics("llvm")
    return TuneContext(
        mod=mod,
        target=compat.Target(TARGET),
        space_generator="post-order-apply",
        search_strategy="evolutionary",
        rand_state=1,
    )


def donor(mod: Any) -> Donor:
    """Return a workload with schedules that MetaSchedule's rules make for it."""
    traces = []
    for space in context_of(mod).generate_design_space():
        schedule = tvm.s_tir.Schedule(mod, seed=3)
        space.trace.apply_to_schedule(schedule, remove_postproc=False)
        traces.append(schedule.trace)
    return Donor(mod=mod, blocks=blocks_of(mod), traces=tuple(traces))


def product_of(mod: Any, rows: int, columns: int, inner: int) -> tuple[Any, Any]:
    rng = np.random.default_rng(0)
    a, b = (rng.standard_normal(one).astype("float32") for one in ((rows, inner), (inner, columns)))
    tensors = [tvm.runtime.tensor(one) for one in (a, b, np.zeros((rows, columns), "float32"))]
    compat.build_kernels(mod, compat.Target(TARGET))["main"](*tensors)
    return tensors[2].numpy(), a @ b


@pytest.mark.each_version
def test_schedules_of_other_shapes_apply_and_compute_the_same() -> None:
    mod = dense(32, 96, 80)
    found = list(transferred(context_of(mod), [donor(dense(64, 64, 64))], 1))
    assert 0 < len(found) <= SCHEDULES_EACH
    for schedule in found:
        # What it came to is another program than the workload as it is.
        assert structural_hash(schedule.mod) != structural_hash(mod)
        np.testing.assert_allclose(*product_of(schedule.mod, 32, 96, 80), rtol=1e-4, atol=1e-4)


@pytest.mark.each_version
def test_schedules_of_another_epilogue_apply_and_compute_the_same() -> None:
    mod = dense(32, 96, 80, epilogue="relu")
    found = list(transferred(context_of(mod), [donor(dense(32, 96, 80))], 1))
    assert found
    for schedule in found:
        own, expected = product_of(schedule.mod, 32, 96, 80)
        np.testing.assert_allclose(own, np.maximum(expected, 0), rtol=1e-4, atol=1e-4)


def test_other_operators_give_nothing() -> None:
    a = te.placeholder((32, 96), name="a")
    mod = compat.IRModule({"main": te.create_prim_func([a, topi.nn.softmax(a)])})
    assert not list(transferred(context_of(mod), [donor(dense(32, 96, 80))], 1))


def test_the_closest_shapes_come_first_and_attempts_are_few() -> None:
    context, closest = context_of(dense(32, 64, 64)), donor(dense(32, 64, 32))
    others = [donor(dense(8 * size, 64, 64)) for size in (16, 1, 8)]
    (first, *_) = transferred(context, [closest], 1)
    found = list(transferred(context, [*others, closest], 1))
    assert structural_hash(found[0].mod) == structural_hash(first.mod)
    assert len(list(transferred(context, 20 * [closest], 1))) <= MOST_ATTEMPTS
