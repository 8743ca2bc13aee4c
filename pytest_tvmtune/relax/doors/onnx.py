"""The front door of ONNX: a file or a ModelProto, made static, constants folded, imported."""

from __future__ import annotations

import contextlib
import io
import operator
import os
import re
import tempfile
import traceback
import warnings
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytest_tvmtune.core.errors import ModelError

if TYPE_CHECKING:
    from tvm.ir import IRModule

_INSTALL = "pip install 'pytest-tvmtune[onnx]'"
_SILENT = 4
_MAX_SIZE = 2**31 - 1


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
    if shapes is not None and not isinstance(shapes, Mapping):
        raise ModelError(
            f"{label}: shapes is a {type(shapes).__name__}, give a dict by input name: "
            f"shapes={{{inputs[0].name if inputs else 'x'!r}: (1, ...)}}"
        )
    _make_static(inputs, dict(shapes or {}), label)
    proto = _fold_constants(onnx, proto, label)
    names = tuple(value.name for value in _runtime_inputs(proto))
    mod, params = _import(proto, label)
    return OnnxImport(mod=mod, params=params, input_names=names)


def _read(onnx: Any, path: Path) -> Any:
    if not path.is_file():
        raise ModelError(f"{path}: {'not a file' if path.exists() else 'no such file'}")
    if path.stat().st_size == 0:
        raise ModelError(f"{path}: the file is empty, not an ONNX model")
    try:
        proto = onnx.load(str(path), load_external_data=False)
    except OSError as error:
        raise ModelError(f"{path}: can't be read: {error.strerror}") from None
    except Exception as error:  # noqa: BLE001  protobuf and onnx raise types of their own
        raise ModelError(
            f"{path}: not an ONNX model, or truncated ({_line(error)}); write the file again"
        ) from None
    try:
        onnx.load_external_data_for_model(proto, str(path.parent))
    except Exception as error:  # noqa: BLE001
        raise ModelError(
            f"{path}: its weights are in other files, which can't be read ({_line(error)}); "
            "keep them beside it"
        ) from None
    return proto


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
        kind = value.type.WhichOneof("value")
        if kind != "tensor_type":
            raise ModelError(
                f"{label}: input {value.name!r} is a {kind}, only tensors can be given"
            )
        tensor = value.type.tensor_type
        wanted = shapes.get(value.name)
        if wanted is not None:
            _set_dims(tensor, value.name, _sizes(wanted, value.name, label), label)
        dims = [
            dim.dim_value if dim.dim_value > 0 else dim.dim_param or "?" for dim in tensor.shape.dim
        ]
        if not tensor.HasField("shape"):
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


def _sizes(wanted: Any, name: str, label: str) -> list[int]:
    try:
        # Not int(): it would cut 1.5 off without a word.
        sizes = [operator.index(size) for size in wanted]
        usable = all(0 < size <= _MAX_SIZE for size in sizes)
    except TypeError:
        usable = False
    if not usable:
        raise ModelError(
            f"{label}: shapes gives {name!r} {wanted!r}, give a tuple of positive whole numbers: "
            f"shapes={{{name!r}: (1, ...)}}"
        )
    return sizes


def _set_dims(tensor: Any, name: str, wanted: list[int], label: str) -> None:
    # A shape without dimensions is rank 0; only without a shape is the rank unknown.
    has_rank = tensor.HasField("shape")
    shape = tensor.shape
    shape.SetInParent()
    if has_rank and len(shape.dim) != len(wanted):
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
    # BASIC folds constants and drops what is redundant, but fuses nothing into its own operators.
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    options.log_severity_level = _SILENT
    # A pool of threads would be started for nothing, and complains where cores are restricted.
    options.intra_op_num_threads = 1
    with tempfile.TemporaryDirectory() as folder:
        options.optimized_model_filepath = str(Path(folder) / "folded.onnx")
        try:
            onnxruntime.InferenceSession(
                proto.SerializeToString(), options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:  # noqa: BLE001  onnxruntime raises types of its own
            raise ModelError(
                f"{label}: onnxruntime refuses the model: {_line(error)}; "
                "check it with onnx.checker.check_model, and shapes=... if given"
            ) from None
        folded = onnx.load(options.optimized_model_filepath)
    _drop_weights_from_inputs(folded)
    return folded


def _drop_weights_from_inputs(proto: Any) -> None:
    kept = _runtime_inputs(proto)
    del proto.graph.input[:]
    proto.graph.input.extend(kept)


def _import(proto: Any, label: str) -> tuple[IRModule, list[Any]]:
    from tvm.relax.frontend import detach_params
    from tvm.relax.frontend.onnx import from_onnx

    # The importer warns of every input that it renames, and prints what it fails on.
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        try:
            mod = from_onnx(proto, keep_params_in_input=True)
        except Exception as error:  # noqa: BLE001  it raises whatever its converters raise
            cause = _cause(proto, error)
            with _silent_stderr():
                # The traceback holds a BlockBuilder, whose end is told on the terminal.
                traceback.clear_frames(error.__traceback__)
            raise ModelError(f"{label}: {cause}") from None
    mod, params = detach_params(mod)
    return mod, list(params.get("main", []))


@contextlib.contextmanager
def _silent_stderr() -> Iterator[None]:
    """Drop what native code writes to file descriptor 2; Python's sys.stderr can't catch that."""
    kept = os.dup(2)
    try:
        with Path(os.devnull).open("wb") as nothing:
            os.dup2(nothing.fileno(), 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)


def _cause(proto: Any, error: Exception) -> str:
    """Return why TVM's importer failed: operators without a converter, or its own words."""
    # Two messages: one lists the graph's operators, one names an operator in a branch of an If.
    found = re.search(
        r"operators are not supported for frontend ONNX: (.+)|^Operator (\w+) not implemented",
        str(error),
    )
    if found:
        names = {name.strip() for name in (found[1] or found[2]).split(",")}
        nodes = [node for node in _all_nodes(proto.graph) if node.op_type in names]
        return f"unsupported operator {_listing(nodes)}: TVM's ONNX importer has no converter"
    hint = "" if _can_fold() else f"; constants were not folded, that needs onnxruntime: {_INSTALL}"
    return f"TVM's ONNX importer failed: {type(error).__name__}: {_line(error)}{hint}"


def _all_nodes(graph: Any) -> Iterator[Any]:
    """Return the nodes of a graph and of all graphs within them (branches, loop bodies)."""
    for node in graph.node:
        yield node
        for attribute in node.attribute:
            for inner in (attribute.g, *attribute.graphs):
                yield from _all_nodes(inner)


def _listing(nodes: Sequence[Any]) -> str:
    counts = Counter(node.op_type for node in nodes)
    first = {node.op_type: node.name or "unnamed" for node in reversed(nodes)}
    return ", ".join(
        f"{name} (node {first[name]!r}, {count} in all)" for name, count in sorted(counts.items())
    )


def _can_fold() -> bool:
    try:
        import onnxruntime  # noqa: F401
    except ImportError:
        return False
    return True


def _line(error: Exception) -> str:
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return lines[0]
