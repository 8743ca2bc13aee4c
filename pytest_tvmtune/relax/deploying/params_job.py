"""Job: call a library once, and save the parameters that its entry takes."""

from __future__ import annotations

import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pytest_tvmtune.core.job_stage import FIRST_RUN
from pytest_tvmtune.core.tensors.dtypes import to_plain
from pytest_tvmtune.core.tensors.nested_outputs import flatten
from pytest_tvmtune.core.tensors.signature import Array, TensorSpec
from pytest_tvmtune.processes.job import Job, WorkerContext
from pytest_tvmtune.relax.measuring.job_machine import open_machine
from pytest_tvmtune.relax.measuring.session import EntryCall, call, open_requested
from pytest_tvmtune.store.artifacts import Manifest


@dataclass(frozen=True, kw_only=True, eq=False)
class Request:
    """A library and a call of it. file: the .npz file to write, transformed parameters in order."""

    library: Path
    manifest: Manifest
    call: EntryCall
    file: Path


@dataclass(frozen=True, kw_only=True, eq=False)
class Result:
    """The parameters in the file, and the outputs of the call: `flatten`'s paths and arrays."""

    params: tuple[TensorSpec, ...]
    paths: tuple[str, ...]
    outputs: tuple[Array, ...]


def run(request: Request, context: WorkerContext[None]) -> Result:
    """Load the library, transform the parameters, save them, and call the entry.

    Args:
        request: The library and the call.
        context: Of this process.

    Raises:
        CompileError: The library doesn't take what its model promised.
        ModelError: An output has no numbers.

    """
    machine = open_machine(request.call, context)
    context.enter_stage(FIRST_RUN)
    session = open_requested(request.call, machine, request.library, request.manifest)
    params = []
    with zipfile.ZipFile(request.file, "w") as saved:
        # One after the other: all of them together can take GBs.
        for index, tensor in enumerate(session.params):
            array = tensor.numpy()
            params.append(
                TensorSpec(name=f"arr_{index}", shape=array.shape, dtype=array.dtype.name)
            )
            with saved.open(f"arr_{index}.npy", "w", force_zip64=True) as member:
                np.lib.format.write_array(member, to_plain(array), allow_pickle=False)
    outputs = dict(flatten(call(session)))
    return Result(params=tuple(params), paths=tuple(outputs), outputs=tuple(outputs.values()))


JOB = Job(run=run)
