"""A kernel that does its work more often than it has to."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from tests.support.chains import SIZE


@lru_cache
def product(rounds: int) -> Any:
    """Return a kernel for `chain`: x @ w, computed so many times, each time from the beginning."""
    from tvm.script import tirx as T  # noqa: N812

    @T.prim_func(private=True, s_tir=True)
    def kernel(
        x: T.Buffer((SIZE,), "float32"),
        w: T.Buffer((SIZE, SIZE), "float32"),
        y: T.Buffer((SIZE,), "float32"),
    ):
        for _ in range(rounds):
            for k, i in T.grid(SIZE, SIZE):
                with T.sblock("sum"):
                    vk, vi = T.axis.remap("RS", [k, i])
                    with T.init():
                        y[vi] = T.float32(0)
                    y[vi] = y[vi] + x[vk] * w[vk, vi]

    return kernel
