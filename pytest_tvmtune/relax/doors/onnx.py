"""The front door of ONNX: a file or a ModelProto, made static, constants folded, imported."""

from __future__ import annotations

import os
import tempfile
import warnings
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytest_tvmtune.core.errors import ModelError

if TYPE_CHECKING:
    from tvm.ir import IRModule

_INSTALL = "pip install 'pytest-tvmtune[onnx]'"
# From onnxruntime: fold constants and drop what is redundant, but fuse nothing into its own ops.
_SILENT = 4


@dataclass(frozen=True, kw_only=True, eq=False)
class OnnxImport:
    """An imported graph. params: in the order of the entry's parameters after its inputs.

    input_names: the file's own names of the runtime inputs; the importer renames some.
    """

    mod: IRModule
    params: list[Any]
    input_names: tuple[str, ...]


def load_onnx(
    source: str | os.PathLike[str] | Any, shapes: Mapping[str, Sequence[int]] | None
) -> OnnxImport:
    """Import an ONNX model with static shapes, its weights as parameters of `main`.

    source: a path, or a ModelProto (left unchanged). shapes: by the file's own input names, for
    inputs whose shape isn't static.
    Raises ModelError, naming the file and what to do, for whatever can't be imported.
    """
    try:
        import onnx
    except ImportError:
        raise ModelError(f"reading ONNX models needs onnx: {_INSTALL}") from None

    if isinstance(source, (str, os.PathLike)):
        label = str(source)
        proto = _read(onnx, Path(source))
    else:
        label = f"ModelProto {source.graph.name!r}"
        proto = onnx.ModelProto()
        proto.CopyFrom(source)
    # Not onnx.checker: it refuses outputs without a shape, which every runtime takes.
    if not proto.graph.node:
        raise ModelError(f"{label}: not an ONNX model, its graph is empty")
    inputs = _runtime_inputs(proto)
    _make_static(inputs, dict(shapes or {}), label)
    proto = _fold_constants(onnx, proto, label)
    names = tuple(value.name for value in _runtime_inputs(proto))
    mod, params = _import(proto, label)
    return OnnxImport(mod=mod, params=params, input_names=names)


def _read(onnx: Any, path: Path) -> Any:
    if not path.is_file():
        raise ModelError(f"{path}: no such file")
    if path.stat().st_size == 0:
        raise ModelError(f"{path}: the file is empty, not an ONNX model")
    try:
        return onnx.load(str(path))
    except Exception as error:  # noqa: BLE001  protobuf and onnx raise types of their own
        raise ModelError(
            f"{path}: not an ONNX model, or truncated ({_line(error)}); write the file again"
        ) from None


def _runtime_inputs(proto: Any) -> list[Any]:
    """Return the graph's inputs that are no weights (old files list both), as they stand."""
    weights = {tensor.name for tensor in proto.graph.initializer}
    return [value for value in proto.graph.input if value.name not in weights]


def _make_static(inputs: Sequence[Any], shapes: dict[str, Sequence[int]], label: str) -> None:
    """Write the given shapes into the graph's inputs; afterwards every dimension is a number."""
    names = [value.name for value in inputs]
    if unknown := [name for name in shapes if name not in names]:
        raise ModelError(
            f"{label}: shapes names {unknown[0]!r}, the model's inputs are {', '.join(names)}"
        )
    for value in inputs:
        shape = value.type.tensor_type.shape
        wanted = shapes.get(value.name)
        if wanted is not None:
            _set_dims(shape, value.name, [int(size) for size in wanted], label)
        dims = [dim.dim_value if dim.dim_value > 0 else dim.dim_param or "?" for dim in shape.dim]
        if wanted is None and not value.type.tensor_type.HasField("shape"):
            raise ModelError(
                f"{label}: input {value.name!r} has no rank; give a static shape: "
                f"shapes={{{value.name!r}: (1, ...)}}"
            )
        if any(isinstance(dim, str) for dim in dims):
            example = tuple(1 if isinstance(dim, str) else dim for dim in dims)
            raise ModelError(
                f"{label}: input {value.name!r} has the dynamic shape "
                f"({', '.join(map(str, dims))}); give a static one: "
                f"shapes={{{value.name!r}: {example}}}"
            )


def _set_dims(shape: Any, name: str, wanted: list[int], label: str) -> None:
    if shape.dim and len(shape.dim) != len(wanted):
        raise ModelError(
            f"{label}: shapes gives {name!r} rank {len(wanted)}, the model has {len(shape.dim)}"
        )
    for index, size in enumerate(wanted):
        if index == len(shape.dim):
            shape.dim.add()
        dim = shape.dim[index]
        if dim.dim_value > 0 and dim.dim_value != size:
            raise ModelError(
                f"{label}: shapes gives {name!r} the size {size} in dimension {index}, "
                f"the model has {dim.dim_value} there"
            )
        dim.Clear()
        dim.dim_value = size


def _fold_constants(onnx: Any, proto: Any, label: str) -> Any:
    """Return the model with constant subgraphs computed, which TVM's importer can't import.

    Without onnxruntime the model goes to the importer as it is.
    """
    _drop_weights_from_inputs(proto)
    try:
        import onnxruntime
    except ImportError:
        return proto
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    options.log_severity_level = _SILENT
    with tempfile.TemporaryDirectory() as folder:
        options.optimized_model_filepath = str(Path(folder) / "folded.onnx")
        try:
            onnxruntime.InferenceSession(
                proto.SerializeToString(), options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:  # noqa: BLE001  onnxruntime raises types of its own
            raise ModelError(f"{label}: onnxruntime refuses the model: {_line(error)}") from None
        folded = onnx.load(options.optimized_model_filepath)
    _drop_weights_from_inputs(folded)
    return folded


def _drop_weights_from_inputs(proto: Any) -> None:
    kept = _runtime_inputs(proto)
    del proto.graph.input[:]
    proto.graph.input.extend(kept)


def _import(proto: Any, label: str) -> tuple[IRModule, list[Any]]:
    import tvm
    from tvm.relax.frontend import detach_params
    from tvm.relax.frontend.onnx import from_onnx

    with warnings.catch_warnings():
        # It warns of every input that it renames.
        warnings.simplefilter("ignore")
        try:
            mod = from_onnx(proto, keep_params_in_input=True)
        except tvm.error.OpNotImplemented as error:
            raise ModelError(f"{label}: {_unsupported(proto, error)}") from None
        except Exception as error:
            raise ModelError(
                f"{label}: TVM's ONNX importer failed: {type(error).__name__}: {_line(error)}"
            ) from error
    mod, params = detach_params(mod)
    return mod, list(params.get("main", []))


def _unsupported(proto: Any, error: Exception) -> str:
    """Return which operators stop the import, with a node and a count each."""
    listed = str(error).rpartition(":")[2]
    names = {name.strip() for name in listed.split(",")}
    nodes = [node for node in proto.graph.node if node.op_type in names]
    counts = Counter(node.op_type for node in nodes)
    first = {node.op_type: node.name or "unnamed" for node in reversed(nodes)}
    told = ", ".join(
        f"{name} (node {first[name]!r}, {count} in all)" for name, count in sorted(counts.items())
    )
    return f"unsupported operator {told or listed.strip()}: TVM's ONNX importer has no converter"


def _line(error: Exception) -> str:
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return lines[0]
