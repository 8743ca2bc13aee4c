"""Reading ONNX models: files with their external data, versions, functions, weights."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pytest_tvmtune.core.errors import ModelError, first_line
from pytest_tvmtune.relax.doors.importing import check_file

_OLDEST_IR_VERSION = 3
# Until then operators broadcast by attributes of their own, which TVM's importer overlooks.
_OLDEST_OPSET = 7
STANDARD_DOMAINS = ("", "ai.onnx")
# A Constant of so many elements is a weight. Lists of sizes, axes or scales, which the importer
# has to know, are shorter.
_WEIGHT_SIZE = 32


def read_model(onnx: Any, path: Path) -> Any:
    """Return a file's ModelProto with its external data. Raises ModelError, naming the file."""
    check_file(path)
    if path.stat().st_size == 0:
        raise ModelError(f"{path}: the file is empty, not an ONNX model")
    try:
        proto = onnx.load(str(path), load_external_data=False)
    except OSError as error:
        raise ModelError(f"{path}: can't be read: {error.strerror}") from None
    except Exception as error:  # noqa: BLE001  protobuf and onnx raise types of their own
        raise ModelError(
            f"{path}: not an ONNX model, or truncated ({first_line(error)}); write the file again"
        ) from None
    for tensor in _tensors_elsewhere(onnx, proto):
        _check_external(path, tensor)
    try:
        onnx.load_external_data_for_model(proto, str(path.parent))
    except Exception as error:  # noqa: BLE001
        raise ModelError(
            f"{path}: its weights are in other files, which can't be read ({first_line(error)}); "
            "keep them beside it"
        ) from None
    return proto


def copied_model(onnx: Any, source: Any, label: str) -> Any:
    """Return a copy of a ModelProto. Raises ModelError where its weights were not loaded."""
    if tensor := next(_tensors_elsewhere(onnx, source), None):
        raise ModelError(
            f"{label}: the values of {tensor.name!r} are in another file, which was not loaded; "
            "give the model's path, or onnx.load(path)"
        )
    proto = onnx.ModelProto()
    proto.CopyFrom(source)
    return proto


def with_known_versions(onnx: Any, proto: Any, label: str) -> Any:
    """Return the model in an opset that TVM's importer reads right: 7 or later.

    Raises ModelError for versions of the format that are too old, or newer than the onnx package.
    """
    known = f"the installed onnx {onnx.__version__} knows"
    if proto.ir_version < _OLDEST_IR_VERSION:
        raise ModelError(
            f"{label}: IR version {proto.ir_version} is too old, TVM's importer takes "
            f"{_OLDEST_IR_VERSION} or later; export the model again"
        )
    if proto.ir_version > onnx.IR_VERSION:
        raise ModelError(
            f"{label}: IR version {proto.ir_version} is newer than {known} ({onnx.IR_VERSION}); "
            "upgrade onnx"
        )
    opset = next((o.version for o in proto.opset_import if o.domain in STANDARD_DOMAINS), None)
    newest = onnx.defs.onnx_opset_version()
    if opset is None:
        raise ModelError(f"{label}: it names no opset of ONNX's own; export the model again")
    if opset > newest:
        raise ModelError(
            f"{label}: opset {opset} is newer than {known} ({newest}); upgrade onnx, or export "
            f"with opset {newest}"
        )
    if opset >= _OLDEST_OPSET:
        return proto
    from onnx import version_converter

    try:
        return version_converter.convert_version(proto, _OLDEST_OPSET)
    except Exception as error:  # noqa: BLE001  onnx raises several types here
        raise ModelError(
            f"{label}: opset {opset} is too old, and onnx can't convert it to {_OLDEST_OPSET}: "
            f"{first_line(error)}; export the model again"
        ) from None


def prepared(proto: Any, label: str) -> Any:
    """Return the model without what TVM's importer overlooks or would put into the IR.

    Its own functions become nodes, weights that are Constant nodes become initializers, and
    weights are no longer listed as inputs. Raises ModelError for sparse weights.
    """
    if proto.graph.sparse_initializer:
        raise ModelError(f"{label}: it has sparse weights, which TVM's importer can't take")
    if proto.functions:
        from onnx import inliner

        proto = inliner.inline_local_functions(proto)
    kept = []
    for node in proto.graph.node:
        tensor = next((a.t for a in node.attribute if a.name == "value"), None)
        if node.op_type == "Constant" and tensor and math.prod(tensor.dims) >= _WEIGHT_SIZE:
            tensor.name = node.output[0]
            proto.graph.initializer.append(tensor)
        else:
            kept.append(node)
    if len(kept) < len(proto.graph.node):
        del proto.graph.node[:]
        proto.graph.node.extend(kept)
    drop_weights_from_inputs(proto)
    return proto


def runtime_inputs(proto: Any) -> list[Any]:
    """Return the graph's inputs that are no weights (old files list both), as they stand."""
    weights = {tensor.name for tensor in proto.graph.initializer}
    return [value for value in proto.graph.input if value.name not in weights]


def drop_weights_from_inputs(proto: Any) -> None:
    """Leave only the runtime inputs in the list of inputs."""
    kept = runtime_inputs(proto)
    del proto.graph.input[:]
    proto.graph.input.extend(kept)


def all_nodes(graph: Any) -> Iterator[Any]:
    """Return the nodes of a graph and of all graphs within them (branches, loop bodies)."""
    for node in graph.node:
        yield node
        for inner in _inner_graphs(node):
            yield from all_nodes(inner)


def _inner_graphs(node: Any) -> Iterator[Any]:
    for attribute in node.attribute:
        if attribute.HasField("g"):
            yield attribute.g
        yield from attribute.graphs


def _tensors_elsewhere(onnx: Any, proto: Any) -> Iterator[Any]:
    """Return the tensors whose values are in other files."""
    graphs = [proto.graph]
    for graph in graphs:
        tensors = list(graph.initializer)
        for node in graph.node:
            graphs += _inner_graphs(node)
            tensors += [a.t for a in node.attribute if a.HasField("t")]
        yield from (t for t in tensors if t.data_location == onnx.TensorProto.EXTERNAL)


def _check_external(path: Path, tensor: Any) -> None:
    location = next((e.value for e in tensor.external_data if e.key == "location"), "")
    folder = path.parent.resolve()
    file = (folder / location).resolve()
    # A model from elsewhere must not read what it likes.
    if not file.is_relative_to(folder):
        raise ModelError(
            f"{path}: the weights of {tensor.name!r} are in {location!r}, outside of the model's "
            "folder; keep them beside it"
        )
    if not file.is_file():
        raise ModelError(
            f"{path}: the weights of {tensor.name!r} are in {location!r}, which is not there; "
            "keep it beside the model"
        )
