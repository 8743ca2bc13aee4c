"""Front doors: one for each kind of model source, each ending in a Model."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from pytest_tvmtune.core.errors import ModelError
from pytest_tvmtune.relax.doors.torch import is_torch, load_program, load_torch
from pytest_tvmtune.relax.model import Model, Params, make_model

_ACCEPTED = (
    "an IRModule, a relax.frontend.nn.Module with spec=..., the path of an .onnx or .pt2 file, "
    "an onnx.ModelProto, a torch.nn.Module with inputs=..., a torch.export.ExportedProgram"
)
# What TVM has importers for, but no door leads to: by the name of the type, or the file's ending.
_IMPORT_YOURSELF = {
    "tflite": "tvm.relax.frontend.tflite.from_tflite",
    "stablehlo": "tvm.relax.frontend.stablehlo.from_stablehlo",
}
_SUFFIXES = {".tflite": "tflite", ".mlir": "stablehlo", ".mlirbc": "stablehlo"}


def open_model(
    source: Any,
    *,
    name: str,
    params: Params = None,
    inputs: Mapping[str, object] | Sequence[object] | None = None,
    entry: str | None = None,
    shapes: Mapping[str, Sequence[int]] | None = None,
    spec: Mapping[str, Any] | None = None,
    seed: int = 0,
) -> Model:
    """Return the Model of any accepted source.

    shapes: static shapes of an ONNX model's dynamic inputs, by the file's own names.
    spec: what `nn.Module.export_tvm` takes.
    Raises ModelError, naming what was given and what is accepted.
    """
    from tvm.ir import IRModule
    from tvm.relax.frontend import nn

    is_path = isinstance(source, (str, os.PathLike))
    if is_path and Path(source).suffix == ".pt2":
        source, is_path = load_program(Path(source)), False
    _refuse_without_door(source)
    is_onnx = is_path or _is_model_proto(source)
    if shapes is not None and not is_onnx:
        raise ModelError("shapes=... is for ONNX models; other sources have static shapes already")
    if spec is not None and not isinstance(source, nn.Module):
        raise ModelError("spec=... is for a relax.frontend.nn.Module")
    input_names: tuple[str, ...] | None = None
    output_names: tuple[str, ...] = ()
    references: Mapping[str, Callable[..., Any]] = {}
    if is_onnx:
        from pytest_tvmtune.relax.doors.onnx import load_onnx

        if params is not None:
            raise ModelError("params=...: an ONNX model brings its own parameters")
        imported = load_onnx(source, shapes)
        mod, params, input_names = imported.mod, imported.params, imported.input_names
        output_names, references = imported.output_names, {"onnxruntime": imported.reference}
    elif is_torch(source):
        if params is not None:
            raise ModelError("params=...: a torch model brings its own parameters")
        program = load_torch(source, inputs)
        mod, params, inputs = program.mod, program.params, program.inputs
        references = {"torch": program.reference}
    elif isinstance(source, nn.Module):
        from pytest_tvmtune.relax.doors.nn_module import export_nn_module

        mod, own_params = export_nn_module(source, spec)
        params = own_params if params is None else params
    elif isinstance(source, IRModule):
        mod = source
    else:
        raise ModelError(f"can't open a {type(source).__name__} as a model; accepted: {_ACCEPTED}")
    model = make_model(
        mod,
        name=name,
        entry=entry,
        params=params,
        inputs=inputs,
        input_names=input_names,
        seed=seed,
    )
    return replace(model, output_names=output_names, references=references)


def _is_model_proto(source: Any) -> bool:
    # Asked by name: importing onnx only to compare a type would cost every user of an IRModule.
    return type(source).__name__ == "ModelProto" and type(source).__module__.startswith("onnx")


def _refuse_without_door(source: Any) -> None:
    """Raise ModelError for a TFLite or StableHLO model: which importer of TVM's takes it."""
    what = f"a {type(source).__module__}.{type(source).__name__}"
    kind = None
    if isinstance(source, (str, os.PathLike)):
        what, kind = str(source), _SUFFIXES.get(Path(source).suffix)
    elif what.startswith("a tflite") and what.endswith(".Model"):
        kind = "tflite"
    elif what.endswith(".mlir.ir.Module") or (".mlir." in what and what.endswith(".Module")):
        kind = "stablehlo"
    if kind is not None:
        raise ModelError(
            f"can't open {what}: no door leads to {kind} models; import it with "
            f"{_IMPORT_YOURSELF[kind]} and give the IRModule"
        )
