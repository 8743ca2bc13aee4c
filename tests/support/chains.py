"""Models whose work can be dialled exactly: a chain of so many equal kernels.

A chain of 150 kernels does 1.5 times the work of one of 100. `naming` changes the names of the
kernels and with them the library's bytes, but no instruction.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np

from pytest_tvmtune.relax import compat

UNITS = 100
SIZE = 64


def chain(
    units: int = UNITS, *, naming: str = "kernel", rounds: int = 1, kernel: Any = None
) -> Any:
    """Return the module: x @ w, `units` times over. 100 of them take about 0.1 ms.

    rounds: how often each kernel computes the same again. kernel: another one, of the same
    arguments.
    """
    from tvm import relax

    vector = compat.tensor_type()((SIZE,), "float32")
    x = relax.Var("x", vector)
    w = relax.Var("w", compat.tensor_type()((SIZE, SIZE), "float32"))
    builder = relax.BlockBuilder()
    with builder.function("main", [x, w], attrs={"num_input": 1}):
        added = builder.add_func(kernel or _kernel(SIZE, rounds), naming)
        with builder.dataflow():
            value = x
            for _ in range(units):
                value = builder.emit(relax.call_tir(added, (value, w), vector))
            result = builder.emit_output(value)
        builder.emit_func_output(result)
    return builder.finalize()


def chain_data() -> tuple[Any, Any]:
    """Return x and w: a reflection, so that no chain of them overflows."""
    rng = np.random.default_rng(0)
    normal = rng.standard_normal(SIZE)
    normal /= np.linalg.norm(normal)
    w = (np.eye(SIZE) - 2 * np.outer(normal, normal)).astype("float32")
    return rng.standard_normal(SIZE).astype("float32"), w


@lru_cache
def _kernel(size: int, rounds: int) -> Any:
    from tvm.script import tirx as T  # noqa: N812

    @T.prim_func(private=True, s_tir=True)
    def kernel(
        x: T.Buffer((size,), "float32"),
        w: T.Buffer((size, size), "float32"),
        y: T.Buffer((size,), "float32"),
    ):
        for i in range(size):
            with T.sblock("zero"):
                vi = T.axis.remap("S", [i])
                y[vi] = T.float32(0)
        for r, k, i in T.grid(rounds, size, size):
            with T.sblock("sum"):
                _vr, vk, vi = T.axis.remap("RRS", [r, k, i])
                y[vi] = y[vi] + x[vk] * w[vk, vi] / T.float32(rounds)

    return kernel
