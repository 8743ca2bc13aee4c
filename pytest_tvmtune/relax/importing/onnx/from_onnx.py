"""A Model from ONNX: a file or a ModelProto, made static, folded where needed, imported."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytest_tvmtune.core.error_text import cause_of
from pytest_tvmtune.core.errors import (
    GivenError,
    ImporterError,
    ModelError,
    UnsupportedOperatorError,
)
from pytest_tvmtune.core.settings.dimension_sizes import Dims, DynamicInput
from pytest_tvmtune.core.tensors.signature import Array
from pytest_tvmtune.machine.import_errors import import_package
from pytest_tvmtune.relax import compat
from pytest_tvmtune.relax.importing.importer_errors import (
    importer,
    innermost_local,
    quiet,
    unsupported,
)
from pytest_tvmtune.relax.importing.onnx import onnxruntime_session
from pytest_tvmtune.relax.importing.onnx.reading import (
    STANDARD_DOMAINS,
    all_nodes,
    copied_model,
    drop_weights_from_inputs,
    prepared,
    read_model,
    runtime_inputs,
    with_known_versions,
)
from pytest_tvmtune.relax.importing.onnx.static_shapes import make_static, shapes_of_given
from pytest_tvmtune.relax.model import Reference

if TYPE_CHECKING:
    from tvm.ir import IRModule

# Those that the importer handles itself, without a converter.
_BUILT_IN = ("Constant", "If")
_IMPORTED_DOMAINS = (*STANDARD_DOMAINS, "com.microsoft")


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
    reference: Reference
    dynamic: tuple[DynamicInput, ...]


def load_onnx(
    source: str | os.PathLike[str] | Any,
    shapes: Mapping[str, Sequence[int]] | None,
    given: Mapping[str, object] | Sequence[object] | None,
    dims: Dims,
) -> OnnxImport:
    """Import an ONNX model with static shapes, its weights as parameters of `main`.

    source: a path, or a ModelProto (left unchanged). shapes: by the file's own input names, for
    inputs whose shape isn't static. given: the inputs, whose shapes those without one in `shapes`
    get. dims: what the dimensions that neither covers get. Constant subgraphs are folded, by
    onnxruntime, only where TVM's importer doesn't take the model as it is, or makes dynamic shapes
    of it.
    Raises ModelError, naming the file and what to do, for a model that can't be imported, and
    UnsupportedOperatorError.
    """
    label, proto, dynamic = _static_proto(source, shapes, given, dims)
    proto = prepared(proto, label)
    input_names = tuple(value.name for value in runtime_inputs(proto))
    try:
        mod, params = _import_or_fold(proto, label)
    except UnsupportedOperatorError:
        raise
    except ModelError as error:
        # Not each model can have a dimension of 1.
        error.dynamic = dynamic
        raise
    # A path may be relative, and the test may change the folder before it asks.
    kept = Path(source).absolute() if isinstance(source, (str, os.PathLike)) else source
    return OnnxImport(
        mod=mod,
        params=params,
        input_names=input_names,
        output_names=tuple(value.name for value in proto.graph.output),
        reference=OnnxruntimeReference(
            source=kept, shapes={one.name: one.sizes for one in dynamic}, input_names=input_names
        ),
        dynamic=dynamic,
    )


@dataclass(frozen=True, kw_only=True, eq=False)
class OnnxruntimeReference:
    """The model in onnxruntime. It is opened anew each time, because few tests ask.

    shapes: of dynamic inputs, by name.
    """

    source: Any
    shapes: Mapping[str, Sequence[int]]
    input_names: Sequence[str]

    def __call__(self, *inputs: Array) -> Any:
        """Return what onnxruntime computes. Raises ModelError."""
        label, proto = self._static()
        return onnxruntime_session.compute_outputs(
            proto, label, dict(zip(self.input_names, inputs, strict=True))
        )

    def save(self, path: Path) -> None:
        """Write the model with static shapes. Raises ModelError."""
        label, proto = self._static()
        try:
            onnxruntime_session.write_model(proto, path)
        except Exception as error:  # onnx and protobuf raise several types
            raise ModelError(f"{label}: the model can't be written: {cause_of(error)}") from error

    def _static(self) -> tuple[str, Any]:
        if not onnxruntime_session.can_run():
            raise ModelError(f"this needs onnxruntime: {onnxruntime_session.INSTALL}")
        label, proto, _ = _static_proto(self.source, self.shapes, None, Dims())
        drop_weights_from_inputs(proto)
        return label, proto


def _static_proto(
    source: str | os.PathLike[str] | Any,
    shapes: Mapping[str, Sequence[int]] | None,
    given: Mapping[str, object] | Sequence[object] | None,
    dims: Dims,
) -> tuple[str, Any, tuple[DynamicInput, ...]]:
    """Return the model's name in messages, a copy with static shapes, and its dynamic inputs."""
    onnx = import_package("onnx", "reading ONNX models", onnxruntime_session.INSTALL)

    if isinstance(source, (str, os.PathLike)):
        label = str(source)
        proto = read_model(onnx, Path(source))
    else:
        label = f"ModelProto {source.graph.name!r}"
        proto = copied_model(onnx, source, label)
    # Not onnx.checker: it refuses outputs without a shape, which every runtime takes.
    if not proto.graph.node:
        raise ModelError(f"{label}: not an ONNX model: its graph is empty")
    proto = with_known_versions(onnx, proto, label)
    inputs = runtime_inputs(proto)
    if shapes is not None and not isinstance(shapes, Mapping):
        raise GivenError(
            f"{label}: shapes is a {type(shapes).__name__}; give a dict by input name: "
            f"shapes={{{inputs[0].name if inputs else 'x'!r}: (1, ...)}}"
        )
    chosen = {**shapes_of_given(inputs, given, label), **(shapes or {})}
    try:
        return label, proto, make_static(inputs, chosen, label, dims)
    except GivenError as error:
        # No shape helps a model that can't be imported.
        if error.dynamic and (nodes := _without_converter(proto)):
            raise _unsupported(label, nodes) from None
        raise


def _import_or_fold(proto: Any, label: str) -> tuple[IRModule, list[Any]]:
    try:
        return _import(proto, label)
    except (ImporterError, UnsupportedOperatorError) as error:
        problem = error
    if not onnxruntime_session.can_run():
        if isinstance(problem, UnsupportedOperatorError):
            raise problem
        hint = (
            "; constants were not folded, because this needs onnxruntime: "
            f"{onnxruntime_session.INSTALL}"
        )
        raise ImporterError(f"{problem}{hint}", printed=problem.printed) from problem.__cause__
    try:
        folded = onnxruntime_session.fold_constants(proto, label)
    except ModelError:
        if isinstance(problem, UnsupportedOperatorError):
            raise problem from None
        raise
    return _import(prepared(folded, label), label)


def _is_static(mod: IRModule) -> bool:
    """Whether every tensor of the module has a shape of numbers."""
    from tvm import relax

    dynamic = []

    def visit(expr: Any) -> None:
        if isinstance(expr, relax.Var) and _is_dynamic(expr):
            dynamic.append(expr)

    for _, function in mod.functions_items():
        if isinstance(function, relax.Function):
            relax.analysis.post_order_visit(function, visit)
    return not dynamic


def _is_dynamic(expr: Any) -> bool:
    """Whether a tensor has a shape that isn't all numbers."""
    from tvm import relax

    if not isinstance(compat.type_of(expr), compat.tensor_type()):
        return False
    dims = compat.type_of(expr).shape
    # A shape may be a variable, too.
    return not isinstance(dims, relax.ShapeExpr) or not all(hasattr(dim, "value") for dim in dims)


def _where_dynamic(proto: Any) -> str:
    """Return which output of which node is the first without a static shape."""
    from tvm.relax.frontend.onnx.onnx_frontend import ONNXGraphImporter

    graphs = ONNXGraphImporter({}, "float32", keep_params_in_input=True)
    opset = next(one.version for one in proto.opset_import if one.domain in STANDARD_DOMAINS)
    with quiet():
        graphs.from_onnx(proto.graph, opset)
    for node in proto.graph.node:
        for output in node.output:
            # By the model's own names.
            if _is_dynamic(graphs._nodes.get(output)):  # noqa: SLF001
                return f"{_operator(node)} ({_which(node)}) gives {output!r}"
    return "TVM's ONNX importer gives a value"


def _import(proto: Any, label: str) -> tuple[IRModule, list[Any]]:
    from tvm.relax.frontend import detach_params
    from tvm.relax.frontend.onnx import from_onnx

    # It names only those of the outermost graph, or else the first that it meets.
    if nodes := _without_converter(proto):
        raise _unsupported(label, nodes)
    with importer(label, "ONNX", _place):
        mod = from_onnx(proto, keep_params_in_input=True)
    mod, params = detach_params(mod)
    if not _is_static(mod):
        raise ImporterError(
            f"{label}: {_where_dynamic(proto)} a shape that depends on values, but models are "
            "compiled for static shapes; make these values constants of the model"
        )
    return mod, list(params.get("main", []))


def _unsupported(label: str, nodes: Sequence[Any]) -> UnsupportedOperatorError:
    return unsupported(label, "ONNX", [(_operator(node), _which(node)) for node in nodes])


def _without_converter(proto: Any) -> list[Any]:
    from tvm.relax.frontend.onnx.onnx_frontend import _get_convert_map

    known = {*_get_convert_map(), *_BUILT_IN}
    # The importer takes an operator of any domain for ONNX's own of that name.
    return [
        node
        for node in all_nodes(proto.graph)
        if node.op_type not in known or node.domain not in _IMPORTED_DOMAINS
    ]


def _operator(node: Any) -> str:
    is_standard = node.domain in STANDARD_DOMAINS
    return str(node.op_type if is_standard else f"{node.domain}.{node.op_type}")


def _place(error: BaseException) -> str:
    node = innermost_local(error, "node", "op_type")
    return "" if node is None else f"{_operator(node)} ({_which(node)})"


def _which(node: Any) -> str:
    """Return what identifies a node: its name, or a value that it makes or takes."""
    if node.name:
        return f"node {node.name!r}"
    if output := next(filter(None, node.output), ""):
        return f"the node with output {output!r}"
    return f"the node with input {next(filter(None, node.input), '')!r}"
