"""The work of kernels, against what can be reckoned by hand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import tvm
from tvm import relax, te
from tvm.script import tirx as T  # noqa: N812

from pytest_tvmtune.core.kernels.matching import Kernel
from pytest_tvmtune.relax import compat
from pytest_tvmtune.relax.compiling.kernel_descriptions import (
    apply_pipeline,
    compile_module,
    describe,
)
from pytest_tvmtune.relax.compiling.kernel_work import KernelWork, work_of
from tests.support.chains import SIZE, chain
from tests.support.products import product

pytestmark = pytest.mark.each_version
TARGET = tvm.target.Target("llvm")


def tensor(shape: tuple[int, ...], dtype: str = "float32") -> Any:
    return relax.Var("x", compat.tensor_type()(shape, dtype))


def kernels_of(tmp_path: Path, *inputs: Any, make: Any) -> dict[str, Kernel]:
    """Return the kernels of `make(builder, *inputs)` after the stock pipeline."""
    builder = relax.BlockBuilder()
    with builder.function("main", list(inputs)):
        with builder.dataflow():
            out = builder.emit_output(make(*inputs))
        builder.emit_func_output(out)
    for name in ("workload", "tuning_record"):
        (tmp_path / f"database_{name}.json").write_text("")
    pipeline = relax.pipeline.static_shape_tuning_pipeline(
        total_trials=0,
        target=TARGET,
        work_dir=str(tmp_path),
    )
    lowered, unscheduled = apply_pipeline(pipeline, builder.finalize())
    # TVM lowers sorting later.
    assert unscheduled or make is relax.op.sort
    _, compiled, _ = compile_module(lowered, TARGET)
    return describe(compiled, {}, unscheduled)


def only_kernel(tmp_path: Path, *inputs: Any, make: Any) -> KernelWork:
    (kernel,) = kernels_of(tmp_path, *inputs, make=make).values()
    return KernelWork(flop=kernel.flop, traffic_bytes=kernel.traffic_bytes)


def test_a_fused_product(tmp_path: Path) -> None:
    x, w, b = tensor((8, 32)), tensor((32, 16)), tensor((16,))
    work = only_kernel(
        tmp_path, x, w, b, make=lambda x, w, b: relax.op.nn.relu(relax.op.matmul(x, w) + b)
    )
    assert work.flop == 2 * 8 * 32 * 16 + 2 * 8 * 16  # the bias, and the maximum
    assert work.traffic_bytes == 4 * (8 * 32 + 32 * 16 + 16 + 8 * 16)


def test_a_function_counts_once_and_a_padding_not_at_all(tmp_path: Path) -> None:
    work = only_kernel(tmp_path, tensor((64,)), make=relax.op.exp)
    assert work == KernelWork(flop=64, traffic_bytes=4 * 128)
    work = only_kernel(
        tmp_path, tensor((1, 2, 6, 6)), make=lambda x: relax.op.nn.pad(x, [0, 0, 0, 0, 1, 1, 1, 1])
    )
    assert work == KernelWork(flop=0, traffic_bytes=4 * 2 * (36 + 64))


@pytest.mark.parametrize(
    ("make", "x", "w", "flop"),
    [
        # Each element of the data meets each weight of its channel once.
        (relax.op.nn.conv2d_transpose, (1, 2, 4, 4), (2, 3, 2, 2), 2 * 2 * 16 * 3 * 4),
        (relax.op.nn.conv1d_transpose, (1, 2, 4), (2, 3, 2), 2 * 2 * 4 * 3 * 2),
    ],
)
def test_zeros_between_the_data_of_a_transposed_convolution_are_no_work(
    tmp_path: Path, make: Any, x: tuple[int, ...], w: tuple[int, ...], flop: int
) -> None:
    work = only_kernel(tmp_path, tensor(x), tensor(w), make=lambda x, w: make(x, w, strides=2))
    assert work.flop == flop
    # The zeros that pad it count, as in any convolution.
    dense = only_kernel(tmp_path, tensor(x), tensor(w), make=lambda x, w: make(x, w, strides=1))
    assert dense.flop is not None
    assert dense.flop > flop * 25 // 32


def test_what_is_interleaved_is_not_taken_for_zeros() -> None:
    a, b, c = (te.placeholder((64,), "float32", name=name) for name in "abc")
    both = te.compute(
        (128,), lambda i: tvm.tirx.if_then_else(i % 2 == 0, a[i // 2], b[i // 2]), name="both"
    )
    out = te.compute((128,), lambda i: both[i] * 2.0, name="out")
    work = work_of(te.create_prim_func([a, b, c, out]), ())
    # `c` isn't read.
    assert work == KernelWork(flop=128, traffic_bytes=4 * (64 + 64 + 128))


def test_the_elements_of_a_pool_are_counted_by_no_operation(tmp_path: Path) -> None:
    work = only_kernel(
        tmp_path,
        tensor((1, 2, 8, 8)),
        make=lambda x: relax.op.nn.avg_pool2d(
            x, pool_size=3, strides=2, padding=1, count_include_pad=False
        ),
    )
    assert work.flop == 2 * 16 * (9 + 1)  # the sums, and a division


def test_shorter_types_have_another_peak(tmp_path: Path) -> None:
    x, w = tensor((8, 32), "float16"), tensor((32, 16), "float16")
    work = only_kernel(tmp_path, x, w, make=relax.op.matmul)
    assert work == KernelWork(flop=None, traffic_bytes=2 * (8 * 32 + 32 * 16 + 8 * 16))


def test_of_two_branches_the_larger_one_counts() -> None:
    @T.prim_func(private=True, s_tir=True)
    def kernel(x: T.Buffer((64,), "float32"), y: T.Buffer((64,), "float32")):
        for i in range(64):
            with T.sblock("y"):
                v = T.axis.spatial(64, i)
                if x[v] < T.float32(0):
                    y[v] = x[v] * T.float32(2) + T.float32(1)
                else:
                    y[v] = x[v] * T.float32(3)

    assert work_of(kernel, ()) == KernelWork(flop=2 * 64, traffic_bytes=2 * 4 * 64)


def test_the_work_of_a_schedule_is_not_that_of_the_model() -> None:
    module = compile_module(chain(1, kernel=product(1)), TARGET)[1]
    (name,) = describe(module, {})
    scheduled = module[name].with_attr("tirx.is_scheduled", True)
    module[name] = scheduled
    (kernel,) = describe(module, {}).values()
    assert (kernel.flop, kernel.traffic_bytes) == (None, None)


def test_of_a_table_only_the_rows_that_are_taken_count(tmp_path: Path) -> None:
    table, index = tensor((1000, 8)), tensor((3,), "int32")
    work = only_kernel(tmp_path, table, index, make=lambda t, i: relax.op.take(t, i, axis=0))
    # A row's number is read for each of its elements: not more than there are.
    assert work == KernelWork(flop=0, traffic_bytes=4 * 3 * 8 + 4 * 3 + 4 * 3 * 8)


def test_integers_have_no_flop(tmp_path: Path) -> None:
    x, w = tensor((8, 32), "int8"), tensor((32, 16), "int8")
    work = only_kernel(tmp_path, x, w, make=lambda x, w: relax.op.matmul(x, w, out_dtype="int32"))
    assert work == KernelWork(flop=None, traffic_bytes=8 * 32 + 32 * 16 + 4 * 8 * 16)


def test_what_another_library_does_is_unknown(tmp_path: Path) -> None:
    assert only_kernel(tmp_path, tensor((64,)), make=relax.op.sort).flop is None


def test_a_size_that_only_a_call_tells_is_unknown() -> None:
    n = tvm.tirx.Var("n", "int32")
    x = te.placeholder((n,), "float32", name="x")
    function = te.create_prim_func([x, te.compute((n,), lambda i: x[i] + 1.0, name="y")])
    assert work_of(function, ()) == KernelWork(flop=None, traffic_bytes=None)


def test_a_loop_that_does_all_again_adds_no_work() -> None:
    once, twice = (compile_module(chain(1, kernel=product(rounds)), TARGET)[1] for rounds in (1, 2))
    (one,), (two,) = describe(once, {}).values(), describe(twice, {}).values()
    assert one.flop == two.flop == 2 * SIZE * SIZE
    assert one.traffic_bytes == two.traffic_bytes == 4 * (SIZE * SIZE + 2 * SIZE)
    assert one.code != two.code


def test_what_is_written_in_place_is_read_too() -> None:
    @T.prim_func(private=True, s_tir=True)
    def kernel(x: T.Buffer((64,), "float32")):
        for i in range(64):
            with T.sblock("x"):
                v = T.axis.spatial(64, i)
                x[v] = x[v] * T.float32(2)

    assert work_of(kernel, (0,)).traffic_bytes == 2 * 4 * 64
