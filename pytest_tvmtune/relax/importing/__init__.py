"""Importing: from each kind of model source to a Model."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from pytest_tvmtune.core.errors import ModelError
from pytest_tvmtune.core.settings.dimension_sizes import Dims, DynamicInput, check_names
from pytest_tvmtune.relax import compat
from pytest_tvmtune.relax.importing.symbolic_dims import bind_symbolic, check_sizes
from pytest_tvmtune.relax.importing.tensor_files import Inputs, read_inputs
from pytest_tvmtune.relax.importing.torch.from_torch import is_torch, load_torch
from pytest_tvmtune.relax.model import Model, Params, Reference, make_model, pick_entry

_ACCEPTED = (
    "an IRModule, a relax.frontend.nn.Module with spec=..., "
    "the path of an .onnx, .pt2, .tflite or .so file, an onnx.ModelProto, a tflite.Model, "
    "a torch.nn.Module with inputs=..., a torch.export.ExportedProgram, a relax.VMExecutable"
)
_LIBRARY = "library"
_SUFFIXES = {
    ".pt2": "torch",
    ".tflite": "TFLite",
    ".so": _LIBRARY,
    ".mlir": "StableHLO",
    ".mlirbc": "StableHLO",
    ".stablehlo": "StableHLO",
}
# Package and name: importing a framework only to compare a type would cost users of the others.
_TYPES = (
    ("onnx", "ModelProto", "ONNX"),
    ("tflite", "Model", "TFLite"),
    ("jaxlib", "Module", "StableHLO"),
    ("tvm", "VMExecutable", _LIBRARY),
)


def open_model(
    source: Any,
    *,
    name: str,
    params: Params = None,
    inputs: Inputs = None,
    entry: str | None = None,
    shapes: Mapping[str, Sequence[int]] | None = None,
    spec: Mapping[str, Any] | None = None,
    seed: int = 0,
    dims: Dims = Dims(),  # noqa: B008  it is frozen
) -> Model:
    """Return the Model of any accepted source.

    inputs: as `read_inputs` takes them.
    shapes: static shapes of an ONNX model's dynamic inputs, by the file's own names.
    spec: what `nn.Module.export_tvm` takes.
    dims: sizes of dimensions whose shapes neither `shapes` nor `inputs` give.
    Raises ModelError, naming the given source and the accepted sources.
    """
    from tvm.relax.frontend import nn

    inputs = read_inputs(inputs)
    kind = _kind(source)
    if shapes is not None and kind != "ONNX":
        raise ModelError("shapes=... is only for ONNX models; other sources have static shapes")
    if spec is not None and not isinstance(source, nn.Module):
        raise ModelError("spec=... is only for a relax.frontend.nn.Module")
    if kind == _LIBRARY:
        from pytest_tvmtune.relax.importing.from_library import open_library

        check_names(dims, (), "a compiled library has fixed shapes")
        return open_library(source, name=name, entry=entry, params=params, inputs=inputs)
    if params is not None and kind:
        raise ModelError(f"params=...: {kind} models contain their parameters; remove params=")
    input_names: tuple[str, ...] | None = None
    output_names: tuple[str, ...] = ()
    references: Mapping[str, Reference] = {}
    dynamic: tuple[DynamicInput, ...] = ()
    if kind == "ONNX":
        from pytest_tvmtune.relax.importing.onnx.from_onnx import load_onnx

        imported = load_onnx(source, shapes, inputs, dims)
        mod, params, input_names = imported.mod, imported.params, imported.input_names
        output_names, references = imported.output_names, {"onnxruntime": imported.reference}
        dynamic = imported.dynamic
    elif kind == "torch":
        program = load_torch(source, inputs, dims)
        mod, params, inputs = program.mod, program.params, program.inputs
        references, dynamic = {"torch": program.reference}, program.dynamic
    elif kind == "TFLite":
        from pytest_tvmtune.relax.importing.from_tflite import load_tflite

        check_names(dims, (), "a TFLite model has fixed shapes")
        mod = load_tflite(source)
    elif isinstance(source, nn.Module):
        from pytest_tvmtune.relax.importing.from_nn_module import export_nn_module

        mod, own_params = export_nn_module(source, spec)
        params = own_params if params is None else params
    elif isinstance(source, compat.IRModule):
        mod = source
    else:
        raise ModelError(
            f"can't open an object of type {type(source).__name__} as a model; accepted are "
            f"{_ACCEPTED}"
        )
    if not kind:
        entry = pick_entry(mod, entry)
        mod, dynamic = bind_symbolic(mod, entry, inputs, dims)
    model = make_model(
        mod,
        name=name,
        entry=entry,
        params=params,
        inputs=inputs,
        input_names=input_names,
        seed=seed,
    )
    check_sizes(mod, model.signature.entry, dynamic)
    return replace(model, output_names=output_names, references=references, dynamic=dynamic)


def _kind(source: Any) -> str:
    """Return the framework that a source comes from, "" for TVM's own; imports none of them.

    Raises ModelError for StableHLO.
    """
    if is_torch(source):
        return "torch"
    if isinstance(source, (str, os.PathLike)):
        kind = _SUFFIXES.get(Path(source).suffix, "ONNX")
    else:
        package, name = type(source).__module__, type(source).__name__
        kinds = (kind for start, its, kind in _TYPES if package.startswith(start) and its == name)
        kind = next(kinds, "")
    if kind == "StableHLO":
        raise ModelError(
            "StableHLO can't be imported here, because TVM's importer needs all of JAX; import it "
            "with tvm.relax.frontend.stablehlo.from_stablehlo, and give the IRModule"
        )
    return kind
