"""Reading ONNX models: files with their external data, versions, functions, weights."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pytest_tvmtune.core.error_text import cause_of
from pytest_tvmtune.core.errors import ModelError, UnsupportedTypeError
from pytest_tvmtune.relax.importing.importer_errors import require_file

_OLDEST_IR_VERSION = 3
# Until then operators broadcast by attributes of their own, which TVM's importer overlooks.
_OLDEST_OPSET = 7
# Since when these take as inputs what they had as attributes, or have all of their inputs. The
# importer reads older ones as if they were of that opset.
_OLDEST_OPSET_WITH = {"Slice": 10, "Upsample": 11, "Resize": 11, "TopK": 11}
STANDARD_DOMAINS = ("", "ai.onnx")
# A Constant of so many elements is a weight. Lists of sizes, axes or scales, which the importer
# has to know, are shorter.
_WEIGHT_SIZE = 32


def read_model(onnx: Any, path: Path) -> Any:
    """Return a file's ModelProto with its external data. Raises ModelError, naming the file."""
    proto = read_without_external_data(onnx, path)
    for tensor in _tensors_elsewhere(onnx, proto):
        _check_external(path, tensor)
    try:
        onnx.load_external_data_for_model(proto, str(path.parent))
    except Exception as error:  # noqa: BLE001
        raise ModelError(
            f"{path}: its weights are in other files, which can't be read ({cause_of(error)}); "
            "put the files into the folder of the model"
        ) from None
    return proto


def read_without_external_data(onnx: Any, path: Path) -> Any:
    """Return the ModelProto that is in the file itself. Raises ModelError, naming the file."""
    require_file(path)
    if path.stat().st_size == 0:
        raise ModelError(f"{path}: not an ONNX model: the file is empty")
    try:
        return onnx.load(str(path), load_external_data=False)
    except OSError as error:
        raise ModelError(f"{path}: can't be read: {error.strerror}") from None
    except Exception as error:  # noqa: BLE001  protobuf and onnx raise types of their own
        raise ModelError(
            f"{path}: not an ONNX model, or truncated ({cause_of(error)}); write the file again"
        ) from None


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
    """Return the model in an opset that TVM's importer reads right: 7 or later, for some 11.

    Raises ModelError for versions of the format that are too old, or newer than the onnx package.
    """
    known = f"the installed onnx {onnx.__version__} knows"
    if proto.ir_version < _OLDEST_IR_VERSION:
        raise ModelError(
            f"{label}: IR version {proto.ir_version} is too old, because TVM's importer takes "
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
        raise ModelError(f"{label}: it has no opset of ONNX itself; export the model again")
    if opset > newest:
        raise ModelError(
            f"{label}: opset {opset} is newer than {known} ({newest}); upgrade onnx, or export "
            f"with opset {newest}"
        )
    used = {node.op_type for node in all_nodes(proto.graph) if node.domain in STANDARD_DOMAINS}
    needed = max([_OLDEST_OPSET, *(_OLDEST_OPSET_WITH.get(one, 0) for one in used)])
    if opset >= needed:
        return proto
    from onnx import version_converter

    try:
        converted = version_converter.convert_version(proto, needed)
    except Exception as error:  # onnx raises several types here
        raise ModelError(
            f"{label}: opset {opset} is too old, and onnx can't convert it to {needed}: "
            f"{cause_of(error)}; export the model again"
        ) from error
    _mend_resize(onnx, converted.graph)
    if opset < _OLDEST_OPSET:
        _mend_prelu(onnx, converted)
    return converted


def _mend_resize(onnx: Any, graph: Any) -> None:
    """Say what was the only way to resize before opset 11, and is not the default since."""
    for node in all_nodes(graph):
        if node.op_type == "Resize":
            for name, value in {
                "coordinate_transformation_mode": "asymmetric",
                "nearest_mode": "floor",
            }.items():
                node.attribute.append(onnx.helper.make_attribute(name, value))


def _mend_prelu(onnx: Any, proto: Any) -> None:
    """Give slopes the shape in which they are still one for each channel: (channels, 1, ...)."""
    graph = onnx.shape_inference.infer_shapes(proto).graph
    ranks = {
        value.name: len(value.type.tensor_type.shape.dim)
        for value in (*graph.input, *graph.value_info)
    }
    weights = {tensor.name: tensor for tensor in proto.graph.initializer}
    for node in proto.graph.node:
        slope = weights.get(node.input[1]) if node.op_type == "PRelu" else None
        if slope is not None and len(slope.dims) == 1:
            slope.dims.extend([1] * (ranks.get(node.input[0], 2) - 2))


def prepared(proto: Any, label: str) -> Any:
    """Return the model without parts that TVM's importer overlooks or would put into the IR.

    Its own functions become nodes, weights that are Constant nodes become initializers, sizes,
    positions and bounds that are initializers become Constant nodes, and weights are no longer
    listed as inputs. Raises UnsupportedTypeError for sparse weights.
    """
    if proto.graph.sparse_initializer:
        raise UnsupportedTypeError(
            f"{label}: it has sparse weights, which TVM's importer doesn't support"
        )
    if proto.functions:
        from onnx import inliner

        proto = inliner.inline_local_functions(proto)
    drop_weights_from_inputs(proto)
    _sort_constants(proto.graph)
    return proto


def _sort_constants(graph: Any) -> None:
    """Make weights initializers, which become parameters, and sizes and the like Constant nodes."""
    from onnx import TensorProto, helper

    # What the importer computes from a bound is then folded. Not each single number, scales above
    # all: as a constant it is part of the workload, and its records end with the next calibration.
    bounds = {n for node in all_nodes(graph) if node.op_type == "Clip" for n in node.input[1:]}
    nodes = []
    # Each is taken out by itself: a list put together anew would hold all weights once more.
    for index, tensor in reversed(list(enumerate(graph.initializer))):
        is_whole = tensor.data_type in {TensorProto.INT32, TensorProto.INT64}
        if tensor.name in bounds or (is_whole and math.prod(tensor.dims) < _WEIGHT_SIZE):
            nodes.append(helper.make_node("Constant", [], [tensor.name], value=tensor))
            del graph.initializer[index]
    for node in graph.node:
        value = next((a.t for a in node.attribute if a.name == "value"), None)
        if node.op_type == "Constant" and value and math.prod(value.dims) >= _WEIGHT_SIZE:
            value.name = node.output[0]
            graph.initializer.append(value)
        else:
            nodes.append(node)
    del graph.node[:]
    graph.node.extend(nodes)


def runtime_inputs(proto: Any) -> list[Any]:
    """Return the graph's inputs that aren't weights (old files list both), unchanged."""
    weights = {tensor.name for tensor in proto.graph.initializer}
    return [value for value in proto.graph.input if value.name not in weights]


def drop_weights_from_inputs(proto: Any) -> None:
    """Leave only the runtime inputs in the list of inputs."""
    kept = runtime_inputs(proto)
    del proto.graph.input[:]
    proto.graph.input.extend(kept)


def all_nodes(graph: Any) -> Iterator[Any]:
    """Return the nodes of a graph and of all graphs within them (branches, loop bodies)."""
    for one in all_graphs(graph):
        yield from one.node


def all_graphs(graph: Any) -> Iterator[Any]:
    """Return a graph and all graphs within its nodes, at any depth."""
    yield graph
    for node in graph.node:
        for inner in node_graphs(node):
            yield from all_graphs(inner)


def node_graphs(node: Any) -> list[Any]:
    """Return the graphs within a node: branches, loop bodies."""
    graphs = []
    for attribute in node.attribute:
        graphs += [attribute.g] if attribute.HasField("g") else []
        graphs += attribute.graphs
    return graphs


def _tensors_elsewhere(onnx: Any, proto: Any) -> Iterator[Any]:
    """Return the tensors whose values are in other files."""
    for graph in all_graphs(proto.graph):
        tensors = list(graph.initializer)
        for node in graph.node:
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
            "folder; move the file into that folder"
        )
    if not file.is_file():
        raise ModelError(
            f"{path}: the weights of {tensor.name!r} are in {location!r}, which doesn't "
            "exist; put the file into the model's folder"
        )
