"""A model of ten kernels of their own, any of which can be made wrong, slow or both."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from functools import lru_cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from pytest_tvmtune.core.comparing.tolerances import Tolerance
from pytest_tvmtune.core.tensors.signature import Array
from pytest_tvmtune.relax import compat
from pytest_tvmtune.relax.diagnosing import divergence_job
from pytest_tvmtune.relax.measuring.session import EntryCall
from pytest_tvmtune.store.artifacts import KERNELS, Artifact, Manifest

TARGET = '{"kind": "llvm", "num-cores": 1}'
# Each kernel has another size, and so is a function of its own.
SIZES = tuple(24 + 4 * number for number in range(11))
COUNT = len(SIZES) - 1
RNG = np.random.default_rng(11)
X = RNG.standard_normal((3, SIZES[0])).astype("float32")
# Stored transposed, as nn.Linear stores them: prepacked, the transposes leave the run.
WEIGHTS = [
    (RNG.standard_normal((after, before)) / np.sqrt(before)).astype("float32")
    for before, after in pairwise(SIZES)
]


def layers(
    wrong: int | None = None, kind: str = "short", *, rounds: dict[int, int] | None = None
) -> Any:
    """Return the module: x @ w.T, then its absolute values, ten times over.

    wrong, kind: which kernel is wrong, and how: `short` leaves out the last term of each sum, `nan`
    computes one NaN, `one` adds 0.1 to a single value. rounds: kernel -> how often it computes.
    """
    from tvm import relax

    x = relax.Var("x", compat.tensor_type()(X.shape, "float32"))
    weights = [
        relax.Var(f"w{i}", compat.tensor_type()(w.shape, "float32")) for i, w in enumerate(WEIGHTS)
    ]
    builder = relax.BlockBuilder()
    with builder.function("main", [x, *weights], attrs={"num_input": 1}):
        with builder.dataflow():
            value: Any = x
            for number, weight in enumerate(weights):
                kernel = builder.add_func(
                    _kernel(
                        SIZES[number],
                        SIZES[number + 1],
                        kind if number == wrong else "",
                        (rounds or {}).get(number, 1),
                    ),
                    f"layer{chr(ord('a') + number)}",
                )
                transposed = builder.emit(relax.op.permute_dims(weight))
                out = compat.tensor_type()((len(X), SIZES[number + 1]), "float32")
                value = builder.emit(relax.call_tir(kernel, (value, transposed), out))
            result = builder.emit_output(value)
        builder.emit_func_output(result)
    return builder.finalize()


@lru_cache
def _kernel(before: int, after: int, wrong: str, rounds: int) -> Any:
    from tvm.script import tirx as T  # noqa: N812

    terms = before - 1 if wrong == "short" else before
    added = {"nan": float("nan"), "one": 0.1}.get(wrong, 0.0)

    @T.prim_func(private=True, s_tir=True)
    def kernel(
        x: T.Buffer((3, before), "float32"),
        w: T.Buffer((before, after), "float32"),
        y: T.Buffer((3, after), "float32"),
    ):
        for i, j in T.grid(3, after):
            with T.sblock("zero"):
                vi, vj = T.axis.remap("SS", [i, j])
                y[vi, vj] = T.float32(0)
        for r, i, k, j in T.grid(rounds, 3, terms, after):
            with T.sblock("sum"):
                _vr, vi, vk, vj = T.axis.remap("RSRS", [r, i, k, j])
                y[vi, vj] = y[vi, vj] + T.abs(x[vi, vk]) * w[vk, vj] / T.float32(rounds)
        for i in range(1):
            with T.sblock("off"):
                vi = T.axis.remap("S", [i])
                y[vi, 3] = y[vi, 3] + T.float32(added)

    return kernel


def build(
    mod: Any, folder: Path, *, prepack: bool, change: Callable[[Any], Any] = lambda lowered: lowered
) -> Artifact:
    """Compile without records; return an artifact in no store. change: of what is lowered."""
    import tvm
    from tvm import relax

    from pytest_tvmtune.relax.compiling.entry_points import entry_points
    from pytest_tvmtune.relax.compiling.kernel_descriptions import (
        compile_module,
        describe,
        write_kernels,
    )

    folder.mkdir(parents=True, exist_ok=True)
    target = tvm.target.Target(TARGET)
    with tempfile.TemporaryDirectory() as work_dir:
        pipeline = relax.pipeline.static_shape_tuning_pipeline(
            total_trials=0, target=target, work_dir=work_dir, cpu_weight_prepack=prepack
        )
        lowered = change(pipeline(mod))
    library = folder / "model.so"
    executable, compiled, planned = compile_module(lowered, target)
    executable.export_library(str(library))
    write_kernels(compiled, folder / KERNELS)
    manifest = Manifest(
        target=TARGET,
        tvm="",
        tvm_ffi="",
        entries=entry_points(lowered, compiled, planned),
        kernels=describe(compiled, {}),
    )
    return Artifact(sha256="", library=library, manifest=manifest)


def entry_call(params: Sequence[Array], inputs: Sequence[Array]) -> EntryCall:
    return EntryCall(entry="main", target=TARGET, params=tuple(params), inputs=tuple(inputs))


def divergence_request(
    reference: Artifact,
    now: Artifact,
    params: Sequence[Array],
    inputs: Sequence[Array],
    reproducer: Path,
) -> divergence_job.Request:
    return divergence_job.Request(
        now=now,
        reference=reference,
        call=entry_call(params, inputs),
        tolerance=Tolerance(),
        against="the right one",
        reproducer=reproducer,
        records={},
    )
