"""A Model from compiled code: a VMExecutable, or a library that it was exported to."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from pytest_tvmtune.core.error_text import cause_of
from pytest_tvmtune.core.errors import ModelError
from pytest_tvmtune.core.tensors.signature import Array, Signature, TensorSpec, as_numpy
from pytest_tvmtune.relax.importing.importer_errors import require_file
from pytest_tvmtune.relax.model import Model, Params, plain_params

_ENTRY = "main"


def open_library(
    source: Any, *, name: str, entry: str | None, params: Params, inputs: Any
) -> Model:
    """Return a Model that is never tuned or compiled, only checked and timed.

    source: a relax.VMExecutable, or the path of an exported .so. params, inputs: what the entry
    takes, in its order, since a library doesn't contain it; names are for messages.
    Raises ModelError for a file that doesn't exist, and without inputs.
    """
    library = _read(Path(source)) if isinstance(source, (str, os.PathLike)) else _export(source)
    if inputs is None:
        raise ModelError(
            "a compiled library doesn't describe its inputs; give inputs=(x,), and params=... if "
            "it has parameters, in the order of the entry's arguments"
        )
    entry = entry or _ENTRY
    named_inputs = _named(inputs, "input")
    named_params = _named(() if params is None else plain_params(params, entry), "param")
    return Model(
        mod=None,
        library=library,
        name=name,
        signature=Signature(
            entry=entry,
            inputs=_specs(named_inputs),
            params=_specs(named_params),
            lifts_params=False,
        ),
        params=tuple(named_params.values()),
        inputs=tuple(named_inputs.values()),
    )


def _read(path: Path) -> bytes:
    require_file(path)
    return path.read_bytes()


def _export(executable: Any) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        library = Path(folder) / "model.so"
        try:
            executable.export_library(str(library))
        except Exception as error:  # TVM and the compiler it calls raise several types
            raise ModelError(f"the executable can't be exported: {cause_of(error)}") from error
        return library.read_bytes()


def _named(given: Mapping[str, object] | Iterable[object], what: str) -> dict[str, Array]:
    if not isinstance(given, Mapping):
        given = {f"{what}_{index}": value for index, value in enumerate(given)}
    return {str(name): as_numpy(value) for name, value in given.items()}


def _specs(arrays: Mapping[str, Array]) -> tuple[TensorSpec, ...]:
    return tuple(
        TensorSpec(name=name, shape=array.shape, dtype=array.dtype.name)
        for name, array in arrays.items()
    )
