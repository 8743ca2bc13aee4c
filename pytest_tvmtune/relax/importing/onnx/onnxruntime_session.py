"""onnxruntime: folds an ONNX model's constants before import, and computes its reference."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from pytest_tvmtune.core.error_text import cause_of
from pytest_tvmtune.core.errors import ModelError
from pytest_tvmtune.core.tensors.signature import Array
from pytest_tvmtune.machine.import_errors import import_package
from pytest_tvmtune.relax.importing.onnx.reading import STANDARD_DOMAINS, all_graphs, node_graphs

INSTALL = "pip install 'pytest-tvmtune[onnx]'"
_SILENT = 4
# Of weights: a file of protobuf has at most 2 GB.
_MOST_INSIDE_BYTES = 1_000_000_000
# The first version of the format in which weights needn't be listed as inputs.
_WEIGHTS_ARE_NO_INPUTS = 4
_RANDOM = ("Bernoulli", "Dropout", "Multinomial", "RandomNormalLike", "RandomUniformLike")


def can_run() -> bool:
    """Return whether onnxruntime is installed. If it is broken, using it reports that."""
    try:
        return find_spec("onnxruntime") is not None
    except ValueError:  # None in sys.modules: its import is blocked
        return False


def _onnxruntime() -> Any:
    return import_package("onnxruntime", "running the model as ONNX", INSTALL)


def fold_constants(proto: Any, label: str) -> Any:
    """Return the model with constant subgraphs computed, which TVM's importer can't import.

    What depends on static shapes alone is constant, too. proto: may be changed.
    Raises ModelError when onnxruntime refuses the model.
    """
    # In earlier versions, onnxruntime lists weights as inputs, and those that it folds stay there.
    proto.ir_version = max(proto.ir_version, _WEIGHTS_ARE_NO_INPUTS)
    _make_sizes_foldable(proto.graph)
    folded = _optimised(proto, label)
    while _compute_left_out(folded, label):
        folded = _optimised(folded, label)
    return folded


def _optimised(proto: Any, label: str) -> Any:
    import onnx

    onnxruntime = _onnxruntime()
    options = onnxruntime.SessionOptions()
    # BASIC folds constants and drops what is redundant, but fuses nothing into its own operators.
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    with tempfile.TemporaryDirectory() as folder:
        options.optimized_model_filepath = str(Path(folder) / "folded.onnx")
        _open_session(proto.SerializeToString(), label, options)
        return onnx.load(options.optimized_model_filepath)


def _make_sizes_foldable(graph: Any) -> None:
    """Make each Size the product of a Shape: onnxruntime folds that, and not a Size."""
    from onnx import helper

    for one in all_graphs(graph):
        for index in reversed(range(len(one.node))):
            node = one.node[index]
            if node.op_type == "Size" and node.domain in STANDARD_DOMAINS:
                shape = f"{node.output[0]}:shape"
                product = helper.make_node(
                    "ReduceProd", [shape], node.output, node.name, keepdims=0
                )
                one.node.insert(index, helper.make_node("Shape", node.input, [shape]))
                one.node[index + 1].CopyFrom(product)


def _compute_left_out(proto: Any, label: str) -> bool:
    """Compute what is constant and onnxruntime doesn't fold: NonZero, Compress, Expand and others.

    Only whole numbers and bools, what shapes and positions are made of: tensors of floats would
    become weights. Returns whether there was any; then the model has changed.
    """
    import onnxruntime
    from onnx import helper, numpy_helper

    graph = proto.graph
    constant = {tensor.name for tensor in graph.initializer}
    nodes = []
    for node in graph.node:
        is_constant = node.input and constant.issuperset(filter(None, node.input))
        if is_constant and node.op_type not in _RANDOM and not node_graphs(node):
            constant.update(node.output)
            nodes.append(node)
    names = [name for node in nodes for name in node.output if name]
    used = {name for node in nodes for name in node.input}
    model = helper.make_model(
        helper.make_graph(
            nodes,
            "constants",
            [],
            [helper.make_empty_tensor_value_info(name) for name in names],
            [tensor for tensor in graph.initializer if tensor.name in used],
        ),
        opset_imports=proto.opset_import,
        ir_version=proto.ir_version,
    )
    try:
        session = _open_session(model.SerializeToString(), label, onnxruntime.SessionOptions())
        values = dict(zip(names, session.run(names, {}), strict=True))
    except Exception:  # noqa: BLE001  whatever it can't compute stays as it is
        return False
    whole = {name for name, value in values.items() if _is_whole(value)}
    left_out = [node for node in nodes if whole.issuperset(filter(None, node.output))]
    for node in left_out:
        graph.initializer.extend(
            numpy_helper.from_array(values[name], name) for name in node.output if name
        )
        graph.node.remove(node)
    return bool(left_out)


def _is_whole(value: Any) -> bool:
    return isinstance(value, np.ndarray) and value.dtype.kind in "biu"


def compute_outputs(proto: Any, label: str, feed: dict[str, Array]) -> Any:
    """Return the model's outputs as onnxruntime computes them: an array, or a tuple of several.

    feed: runtime inputs by the model's own names. Raises ModelError.
    """
    onnxruntime = _onnxruntime()
    options = onnxruntime.SessionOptions()
    # What is compared shall be what the file says, not onnxruntime's own fusions.
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    session = _open_session(proto.SerializeToString(), label, options)
    try:
        outputs = session.run(None, feed)
    except Exception as error:  # onnxruntime raises types of its own
        raise ModelError(f"{label}: onnxruntime failed to run it: {cause_of(error)}") from error
    return outputs[0] if len(outputs) == 1 else tuple(outputs)


def write_model(proto: Any, path: Path) -> None:
    """Write a model, with weights in a file next to it if there are too many for one file."""
    import onnx

    size_bytes = sum(len(tensor.raw_data) for tensor in proto.graph.initializer)
    onnx.save_model(proto, path, save_as_external_data=size_bytes > _MOST_INSIDE_BYTES)


def open_timed(path: Path, inputs: Sequence[Array], *, num_threads: int) -> Callable[[], object]:
    """Return a function that runs a model once, with the defaults of onnxruntime.

    Inputs are bound once, so that no call copies them, as with TVM.

    Args:
        path: A model with static shapes.
        inputs: Of the model, in order.
        num_threads: Of onnxruntime, for a call.

    Raises:
        ModelError: onnxruntime refuses the model or its inputs.

    """
    options = _onnxruntime().SessionOptions()
    session = _open_session(str(path), "the model", options, num_threads=num_threads)
    try:
        binding = session.io_binding()
        for one, array in zip(session.get_inputs(), inputs, strict=True):
            binding.bind_cpu_input(one.name, array)
        for one in session.get_outputs():
            binding.bind_output(one.name, "cpu")
    except Exception as error:  # onnxruntime raises types of its own
        raise ModelError(f"onnxruntime doesn't take the inputs: {cause_of(error)}") from error

    def run() -> None:
        session.run_with_iobinding(binding)

    return run


def _open_session(model: bytes | str, label: str, options: Any, *, num_threads: int = 1) -> Any:
    # For outputs alone, a pool of threads would be started for nothing, and complains where cores
    # are restricted.
    onnxruntime = _onnxruntime()
    options.log_severity_level = _SILENT
    options.intra_op_num_threads = num_threads
    options.inter_op_num_threads = 1
    try:
        return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime raises types of its own
        raise ModelError(
            f"{label}: onnxruntime can't load the model: {cause_of(error)}; "
            "check the model with onnx.checker.check_model, and check shapes= if you give it"
        ) from error
