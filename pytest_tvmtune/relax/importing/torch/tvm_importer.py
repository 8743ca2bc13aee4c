"""From an ExportedProgram to Relax, through TVM's importer."""

from __future__ import annotations

import re
from dataclasses import replace
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from pytest_tvmtune.core.error_text import typed_cause_of
from pytest_tvmtune.core.errors import ImporterError, ModelError
from pytest_tvmtune.core.tensors.signature import Array, as_numpy
from pytest_tvmtune.relax.importing.importer_errors import (
    importer,
    innermost_local,
    quiet,
    unsupported,
)

if TYPE_CHECKING:
    from torch.export import ExportedProgram
    from tvm.ir import IRModule

_OUTPUTS = {"USER_OUTPUT", "LOSS_OUTPUT"}
_HALVES = ("float16", "bfloat16")
# Operators that the importer computes in float32, and where among their arguments the bias is.
_IN_FLOAT32 = {
    "mm.default": None,
    "bmm.default": None,
    "matmul.default": None,
    "addmm.default": 0,
    "linear.default": 2,
    "convolution.default": 2,
    "conv1d.default": 2,
    "conv2d.default": 2,
    "conv3d.default": 2,
}


def is_tensor(spec: Any) -> bool:
    """Whether an input or output of a program is a tensor, and no constant."""
    return type(spec.arg).__name__ == "TensorArgument"


def import_program(program: ExportedProgram, label: str) -> tuple[IRModule, dict[str, Array]]:
    """Return the program in Relax, and by name what its `main` takes after the runtime inputs.

    Raises ModelError, UnsupportedOperatorError.
    """
    from tvm.relax.frontend import detach_params
    from tvm.relax.frontend.torch import from_exported_program

    try:
        with quiet():
            # New objects, which may be changed.
            core = program.run_decompositions()
    except Exception as error:  # torch raises whatever its decompositions raise
        raise ModelError(
            f"{label}: torch can't decompose it into its core operators: {typed_cause_of(error)}"
        ) from error
    importable = _with_everything_as_parameters(core, label)
    converters = _rounding_converters(core)
    try:
        with importer(label, "torch", _place):
            mod = from_exported_program(
                importable,
                keep_params_as_input=True,
                unwrap_unit_return_tuple=bool(program.call_spec.out_spec.is_leaf()),
                custom_convert_map=converters,
                run_ep_decomposition=False,
            )
    except ImporterError as error:
        names = _missing(error.__cause__)
        graphs = [part.graph for part in core.graph_module.modules()]
        found = [
            (str(node.target), f"node {node.name!r}")
            for graph in graphs
            for node in graph.nodes
            if node.op == "call_function" and node.target.__name__ in names
        ]
        if found:
            raise unsupported(label, "torch", found) from error.__cause__
        raise
    mod, _ = detach_params(mod)
    params = {
        spec.arg.name: as_numpy(importable.state_dict[spec.target])
        for spec in importable.graph_signature.input_specs
        if spec.kind.name == "PARAMETER"
    }
    return mod, params


def _rounding_converters(core: ExportedProgram) -> dict[str, Any] | None:
    """Return converters for models in 16-bit floats; None for others, which are imported as is.

    TVM's own convert products and convolutions with a result in float32, and then fail where the
    bias is added, or leave the result so. Around them, the bias is widened and the result rounded.
    """
    from tvm import relax

    def converter(name: str, bias_at: int | None) -> Any:
        def convert(node: Any, importer: Any) -> Any:
            stock = importer.create_convert_map()[name]
            dtype = _dtype(node)
            if dtype not in _HALVES:
                return stock(node)
            emit = importer.block_builder.emit
            has_bias = bias_at is not None and bias_at < len(node.args)
            bias = node.args[bias_at] if has_bias else None
            if bias is None:
                return emit(relax.op.astype(stock(node), dtype))
            kept = importer.env[bias]
            importer.env[bias] = emit(relax.op.astype(kept, "float32"))
            result = stock(node)
            importer.env[bias] = kept
            return emit(relax.op.astype(result, dtype))

        return convert

    if not any(_dtype(node) in _HALVES for node in core.graph.nodes):
        return None
    return {name: converter(name, bias_at) for name, bias_at in _IN_FLOAT32.items()}


def _dtype(node: Any) -> str:
    return str(getattr(node.meta.get("val"), "dtype", "")).removeprefix("torch.")


def _place(error: BaseException) -> str:
    node = innermost_local(error, "node", "all_input_nodes")
    return "" if node is None else f"node {node.name!r} ({node.target})"


def _missing(error: BaseException | None) -> set[str]:
    """Return the functions that the importer has no converter for, as its error lists them."""
    found = re.search(r"Unsupported function types \[(.*)\]", str(error))
    return set(re.findall(r"'([^']+)'", found[1])) if found else set()


def _with_everything_as_parameters(core: ExportedProgram, label: str) -> Any:
    """Return the program as TVM's importer reads it, with buffers and constants as parameters.

    The importer itself binds those into the IR, and copies all parameters. Parameters that are the
    same tensor under several names become a single parameter. Unused parameters are left out; so
    are inputs and outputs that aren't tensors, and values that the model writes into its inputs.
    """
    from torch.export.graph_signature import InputKind

    _refuse_changes(core, label)
    graph = core.graph
    nodes = {node.name: node for node in graph.nodes}
    state: dict[str, Any] = {}
    first: dict[Any, Any] = {}
    for spec in core.graph_signature.input_specs:
        if spec.kind.name not in {"PARAMETER", "BUFFER", "CONSTANT_TENSOR"}:
            continue
        where = core.state_dict if spec.target in core.state_dict else core.constants
        tensor = state[spec.target] = where[spec.target]
        if tensor.is_meta:
            raise ModelError(
                f"{label}: {spec.target!r} has no data, because it is on the meta device"
            )
        lies = (tensor.data_ptr(), tensor.shape, tensor.stride(), tensor.dtype)
        same = first.setdefault(lies, nodes[spec.arg.name])
        if same.name != spec.arg.name:
            nodes[spec.arg.name].replace_all_uses_with(same)
    specs = []
    for spec in core.graph_signature.input_specs:
        node = nodes[spec.arg.name]
        kept = is_tensor(spec) and (spec.target not in state or bool(node.users))
        if kept:
            is_param = spec.target in state
            specs.append(replace(spec, kind=InputKind.PARAMETER) if is_param else spec)
        elif not node.users:
            graph.erase_node(node)
    end = next(node for node in graph.nodes if node.op == "output")
    # Not by the names in the signature: what was merged has another one by now.
    returned = [
        (node, spec)
        for node, spec in zip(end.args[0], core.graph_signature.output_specs, strict=True)
        if is_tensor(spec) and spec.kind.name in _OUTPUTS
    ]
    if not returned:
        raise ModelError(f"{label}: it returns no tensor")
    end.args = (tuple(node for node, _ in returned),)
    return SimpleNamespace(
        graph=graph,
        graph_module=core.graph_module,
        graph_signature=SimpleNamespace(
            input_specs=specs, output_specs=[spec for _, spec in returned]
        ),
        state_dict=state,
        tensor_constants={},
        constants={},
        range_constraints={},
        named_parameters=lambda: (),
        named_buffers=lambda: (),
    )


def _refuse_changes(core: ExportedProgram, label: str) -> None:
    for spec in core.graph_signature.output_specs:
        # What it writes into an input nobody sees who hands a copy to each call, as TVM does.
        if spec.kind.name not in {*_OUTPUTS, "USER_INPUT_MUTATION"}:
            what = str(spec.kind.name).lower().replace("_", " ")
            raise ModelError(
                f"{label}: it changes {spec.target!r} when it is called ({what}), but a compiled "
                "model keeps no state; return the new value, and take the old value as an input"
            )
