"""Models whose work can be dialled exactly: a chain of so many equal kernels.

A chain of 103 kernels does 1.03 times the work of one of 100. `naming` changes the names of the
kernels and with them the library's bytes, but no instruction.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

from pytest_tvmtune.relax import compat

if TYPE_CHECKING:
    from pytest_tvmtune.relax.model import Model

UNITS = 100
MOST_UNITS = 110


@dataclass(frozen=True, kw_only=True)
class Chain:
    """A kind of kernel: a vector times a matrix, `size` squared.

    own_weights: each kernel has its own matrix, so that the chain reads them from the outer caches
    or from memory; else all share one, in the inner ones. rounds: how often a kernel goes over it.
    """

    size: int
    rounds: int = 1
    own_weights: bool = False


# By what they are and about how long 100 of them take here.
CHAINS = {
    "compute 0.1 ms": Chain(size=64),
    "weights 0.2 ms": Chain(size=136, own_weights=True),
    "compute 1 ms": Chain(size=128, rounds=7),
    "compute 20 ms": Chain(size=256, rounds=40),
}


def make_chain(name: str, *, units: int, naming: str) -> tuple[Any, list[np.ndarray], np.ndarray]:
    """Return the chain as an IRModule, its parameters, and an input."""
    chain = CHAINS[name]
    rng = np.random.default_rng(0)
    shape = (chain.size, chain.size)
    # As many for every length, so that the interface is one; a shorter chain leaves some unused.
    count = MOST_UNITS if chain.own_weights else 1
    scale = 1 / np.sqrt(chain.size * chain.rounds)
    weights = [(rng.standard_normal(shape) * scale).astype("float32") for _ in range(count)]
    x = rng.standard_normal(chain.size).astype("float32")
    return _module(chain, units, naming), weights, x


def open_chain(name: str, *, units: int, naming: str) -> Model:
    """Return the chain as a model, parameters and input included."""
    from pytest_tvmtune.relax import importing

    mod, weights, x = make_chain(name, units=units, naming=naming)
    return importing.open_model(mod, name=naming, seed=0, params=weights, inputs=[x])


def open_stages(size: int, rounds: Sequence[int]) -> Model:
    """Return a chain of kernels of their own, each of which goes over one matrix so many rounds."""
    from tvm import relax

    from pytest_tvmtune.relax import importing

    vector, matrix = (
        compat.tensor_type()((size,), "float32"),
        compat.tensor_type()((size, size), "float32"),
    )
    x, w = relax.Var("x", vector), relax.Var("w", matrix)
    builder = relax.BlockBuilder()
    with builder.function("main", [x, w], attrs={"num_input": 1}):
        value = x
        for number, count in enumerate(rounds):
            kernel = builder.add_func(_kernel(size, count), f"stage{chr(ord('a') + number)}")
            value = builder.emit(relax.call_tir(kernel, (value, w), vector))
        builder.emit_func_output(value)
    rng = np.random.default_rng(0)
    weight = rng.standard_normal((size, size)).astype("float32") / (size * max(rounds))
    inputs = [rng.standard_normal(size).astype("float32")]
    return importing.open_model(
        builder.finalize(), name="stages", seed=0, params=[weight], inputs=inputs
    )


def _module(chain: Chain, units: int, naming: str) -> Any:
    from tvm import relax

    vector = compat.tensor_type()((chain.size,), "float32")
    x = relax.Var("x", vector)
    count = MOST_UNITS if chain.own_weights else 1
    matrix = compat.tensor_type()((chain.size, chain.size), "float32")
    weights = [relax.Var(f"w{index}", matrix) for index in range(count)]
    builder = relax.BlockBuilder()
    with builder.function("main", [x, *weights], attrs={"num_input": 1}):
        kernel = builder.add_func(_kernel(chain.size, chain.rounds), naming)
        with builder.dataflow():
            value = x
            for index in range(units):
                weight = weights[index % count]
                value = builder.emit(relax.call_tir(kernel, (value, weight), vector))
            result = builder.emit_output(value)
        builder.emit_func_output(result)
    return builder.finalize()


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
                y[vi] = y[vi] + x[vk] * w[vk, vi]

    return kernel
