"""The front door of ONNX: a file or a ModelProto, made static, constants folded, imported."""

from __future__ import annotations

import contextlib
import io
import operator
import os
import re
import traceback
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytest_tvmtune.core.errors import ModelError, first_line
from pytest_tvmtune.core.signature import Array
from pytest_tvmtune.relax.doors import ort

if TYPE_CHECKING:
    from tvm.ir import IRModule

_MAX_SIZE = 2**31 - 1


@dataclass(frozen=True, kw_only=True, eq=False)
class OnnxImport:
    """An imported graph. params: in the order of the entry's parameters after its inputs.

    input_names, output_names: the file's own names of the runtime inputs, of which the importer
    renames some, and of the outputs. reference: computes the outputs from the inputs, in order.
    """

    mod: IRModule
    params: list[Any]
    input_names: tuple[str, ...]
    output_names: tuple[str, ...]
    reference: Callable[..., Any]


def load_onnx(
    source: str | os.PathLike[str] | Any, shapes: Mapping[str, Sequence[int]] | None
) -> OnnxImport:
    """Import an ONNX model with static shapes, its weights as parameters of `main`.

    source: a path, or a ModelProto (left unchanged). shapes: by the file's own input names, for
    inputs whose shape isn't static.
    Raises ModelError, naming the file and what to do, for whatever can't be imported.
    """
    label, proto = _static_proto(source, shapes)
    if ort.can_run():
        proto = ort.fold_constants(proto, label)
        _drop_weights_from_inputs(proto)
    input_names = tuple(value.name for value in _runtime_inputs(proto))
    mod, params = _import(proto, label)
    # A path may be relative, and the test may change the folder before it asks.
    kept = Path(source).absolute() if isinstance(source, (str, os.PathLike)) else source
    return OnnxImport(
        mod=mod,
        params=params,
        input_names=input_names,
        output_names=tuple(value.name for value in proto.graph.output),
        reference=partial(_run_in_onnxruntime, kept, shapes, input_names),
    )


def _run_in_onnxruntime(
    source: Any,
    shapes: Mapping[str, Sequence[int]] | None,
    input_names: Sequence[str],
    *inputs: Array,
) -> Any:
    """Return what onnxruntime computes for the model, which is opened anew: few tests ask."""
    if not ort.can_run():
        raise ModelError(f'expected="onnxruntime" needs onnxruntime: {ort.INSTALL}')
    label, proto = _static_proto(source, shapes)
    return ort.compute_outputs(proto, label, dict(zip(input_names, inputs, strict=True)))


def _static_proto(
    source: str | os.PathLike[str] | Any, shapes: Mapping[str, Sequence[int]] | None
) -> tuple[str, Any]:
    """Return what messages call the model, and a copy of it with static shapes."""
    try:
        import onnx
    except ImportError:
        raise ModelError(f"reading ONNX models needs onnx: {ort.INSTALL}") from None

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
    _drop_weights_from_inputs(proto)
    return label, proto


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
            f"{path}: not an ONNX model, or truncated ({first_line(error)}); write the file again"
        ) from None
    try:
        onnx.load_external_data_for_model(proto, str(path.parent))
    except Exception as error:  # noqa: BLE001
        raise ModelError(
            f"{path}: its weights are in other files, which can't be read ({first_line(error)}); "
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
    hint = (
        ""
        if ort.can_run()
        else f"; constants were not folded, that needs onnxruntime: {ort.INSTALL}"
    )
    return f"TVM's ONNX importer failed: {type(error).__name__}: {first_line(error)}{hint}"


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
