"""Front doors: one for each kind of model source, each ending in a Model."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from pytest_tvmtune.core.errors import ModelError
from pytest_tvmtune.relax.model import Model, Params, make_model

_ACCEPTED = (
    "an IRModule, a relax.frontend.nn.Module with spec=..., "
    "the path of an .onnx file or an onnx.ModelProto"
)


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

    is_onnx = isinstance(source, (str, os.PathLike)) or _is_model_proto(source)
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
