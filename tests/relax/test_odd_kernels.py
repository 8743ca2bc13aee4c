"""The diverging kernel where kernels are unusual: rank 0, several outputs, in place, bfloat16."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tvm import relax, te, tirx
from tvm.script import tirx as T  # noqa: N812

from pytest_tvmtune.core.comparing.divergence import Divergence
from pytest_tvmtune.core.tensors.dtypes import dtype_of
from pytest_tvmtune.core.tensors.signature import Array
from pytest_tvmtune.processes.job import WorkerContext
from pytest_tvmtune.relax import compat
from pytest_tvmtune.relax.diagnosing.divergence_job import run
from tests.relax.layers import build, divergence_request
from tests.relax.reproducing import reproduced

FOUR = compat.tensor_type()((4,), "float32")


def look(
    folder: Path, right: Any, wrong: Any, inputs: Sequence[Array], **changes: Any
) -> Divergence:
    reference, now = (
        build(mod, folder / name, prepack=False)
        for name, mod in (("right", right), ("wrong", wrong))
    )
    request = divergence_request(reference, now, [], inputs, folder / "reproducer")
    return run(replace(request, **changes), WorkerContext(folder=folder))


def plus(number: float, shape: tuple[int, ...], dtype: str) -> Any:
    """Return a PrimFunc that adds a number to each element."""
    x = te.placeholder(shape, dtype, name="x")
    y = te.compute(shape, lambda *at: x(*at) + tirx.const(number, dtype), name="y")
    return te.create_prim_func([x, y]).without_attr("global_symbol")


def one_call(kernel: Any, given: Any, out: Any) -> Any:
    x = relax.Var("x", given)
    builder = relax.BlockBuilder()
    with builder.function("main", [x], attrs={"num_input": 1}):
        called = relax.call_tir(builder.add_func(kernel, "kernel"), (x,), out)
        builder.emit_func_output(builder.emit(called))
    return builder.finalize()


@pytest.mark.parametrize(
    ("shape", "dtype", "value"),
    [((), "int64", 2**62), ((2, 3), "bfloat16", 1)],
    ids=["large integer of rank 0", "bfloat16"],
)
def test_elements_of_any_type_and_rank(
    tmp_path: Path, shape: tuple[int, ...], dtype: str, value: int
) -> None:
    tensor = compat.tensor_type()(shape, dtype)
    right, wrong = (one_call(plus(more, shape, dtype), tensor, tensor) for more in (0, 1))
    told = look(tmp_path, right, wrong, [np.full(shape, value, dtype_of(dtype))])
    assert (told.kernel, told.input_error) == ("kernel", 0.0)
    assert told.output is not None
    assert told.output.mismatches == told.output.size
    assert "by up to 1 at" in reproduced(Path(told.reproducer))


def two_outputs(scale: float, index: int) -> Any:
    @T.prim_func(private=True, s_tir=True)
    def kernel(
        x: T.Buffer((4,), "float32"), y: T.Buffer((4,), "float32"), z: T.Buffer((4,), "int32")
    ):
        for i in range(4):
            with T.sblock("values"):
                vi = T.axis.remap("S", [i])
                y[vi] = x[vi] * T.float32(scale)
        for i in range(4):
            with T.sblock("indices"):
                vi = T.axis.remap("S", [i])
                z[vi] = T.int32(index)

    return one_call(kernel, FOUR, [FOUR, compat.tensor_type()((4,), "int32")])


@pytest.mark.each_version
def test_each_of_several_outputs_has_its_own_tolerance(tmp_path: Path) -> None:
    x = np.arange(1, 5, dtype="float32")
    told = look(tmp_path, two_outputs(1.0, 1), two_outputs(1.000001, 2), [x])
    assert told.output is not None
    assert (told.output.path, told.output.mismatches) == ("output 1", 4)
    printed = reproduced(Path(told.reproducer))
    assert "output 0 of kernel: 0 of 4 values differ" in printed
    assert "output 1 of kernel: 4 of 4 values differ" in printed


def in_place(more: float) -> Any:
    """Return a module whose second kernel writes into the entry's own input."""

    @T.prim_func(private=True, s_tir=True)
    def add(x: T.Buffer((4,), "float32"), y: T.Buffer((4,), "float32")):
        for i in range(4):
            with T.sblock("add"):
                vi = T.axis.remap("S", [i])
                x[vi] = x[vi] + y[vi] + T.float32(more)

    x = relax.Var("x", FOUR)
    builder = relax.BlockBuilder()
    with builder.function("main", [x], attrs={"num_input": 1}):
        innocent = builder.add_func(plus(1, (4,), "float32"), "innocent")
        y = builder.emit(relax.call_tir(innocent, (x,), FOUR))
        guilty = builder.add_func(add, "guilty")
        builder.emit_func_output(builder.emit(relax.op.call_tir_inplace(guilty, (x, y), [0], FOUR)))
    return builder.finalize()


def test_an_input_that_is_written_to_is_a_new_one_for_each_look(tmp_path: Path) -> None:
    told = look(tmp_path, in_place(0), in_place(1), [np.ones(4, "float32")])
    assert (told.kernel, told.call, told.input_error) == ("guilty", 1, 0.0)
    # What is written in place has been read: it is an argument as well.
    assert [one.index for one in told.arguments] == [0, 1]
    assert "argument 0 differs by up to 0" in reproduced(Path(told.reproducer))


def test_what_was_found_stands_without_a_reproducer(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    place = tmp_path / "file" / "reproducer"
    told = look(tmp_path, in_place(0), in_place(1), [np.ones(4, "float32")], reproducer=place)
    assert (told.kernel, told.reproducer) == ("guilty", "")
    assert told.no_reproducer.startswith("FileExistsError: ")
