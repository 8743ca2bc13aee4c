"""Every difference between versions of TVM that this package meets; nothing else knows a version.

Names of TVM's core come from here, as attributes: the core is on its way to a separate package,
whose name then joins `CORE_ROOTS`. A name or a form that differs between versions has a function
here. Importing this module imports no tvm.
"""

from __future__ import annotations

import ctypes
from collections.abc import Iterable
from dataclasses import dataclass
from pkgutil import resolve_name
from typing import Any

from pytest_tvmtune.core.errors import EnvironmentProblemError
from pytest_tvmtune.core.versions import minor
from pytest_tvmtune.machine.installed_tvm import package_version, tvm_origin


@dataclass(frozen=True, kw_only=True)
class TestedVersion:
    """A minor version of apache-tvm that this package is tested with.

    ffi_versions: the versions of apache-tvm-ffi that work with it, the best one first; measured by
    `benchmarks/version_pairs.py`.
    """

    ffi_versions: tuple[str, ...]


TESTED = {
    "0.25": TestedVersion(ffi_versions=("0.1.12",)),
    "0.26": TestedVersion(
        ffi_versions=("0.1.14.post1", "0.1.14.post0", "0.1.13.post3", "0.1.13.post2")
    ),
    "0.27": TestedVersion(ffi_versions=("0.1.14.post1", "0.1.14.post0")),
}
NEWEST_TESTED = list(TESTED)[-1]

# The packages that can have TVM's core.
CORE_ROOTS = ("tvm", "tvm_tirx")
# What an expression that reads a buffer is called, until apache-tvm 0.26 and since.
LOADS = ("BufferLoad", "TensorLoad")
# The binary operators of index maps.
INDEX_OPERATORS = ("Add", "FloorDiv", "FloorMod", "Max", "Min", "Mul", "Sub")
_CORE = {
    **{name: f"tirx:{name}" for name in INDEX_OPERATORS},
    "Cast": "tirx:Cast",
    "IndexMap": "tirx:IndexMap",
    "IndexVar": "tirx:Var",
    "IntImm": "tirx:IntImm",
    "IRModule": "ir:IRModule",
    "PassContext": "ir.transform:PassContext",
    "PrimFunc": "tirx:PrimFunc",
    "Sequential": "ir.transform:Sequential",
    "Target": "target:Target",
    "build_kernels": "tirx:build",
    "create_shared": "support.cc:create_shared",
    "cross_compiler": "support.cc:cross_compiler",
    "derived_object": "ir.utils:derived_object",
    "get_cc": "support.cc:get_cc",
    "list_tags": "target:list_tags",
    "llvm_get_cpu_archlist": "target.codegen:llvm_get_cpu_archlist",
    "llvm_get_cpu_features": "target.codegen:llvm_get_cpu_features",
    "llvm_get_system_cpu": "target.codegen:llvm_get_system_cpu",
    "load_json": "ir:load_json",
    "module_pass": "ir.transform:module_pass",
    "pass_instrument": "ir.instrument:pass_instrument",
    "save_json": "ir:save_json",
}
CORE_NAMES = tuple(_CORE)
# The converters that came with a version. Source: the convert maps of TVM's importers.
_NEW_CONVERTERS = {
    "0.26": {
        "ONNX": ("Dropout", "GroupNormalization"),
        "torch": ("aten.atan2.default", "aten.rnn_tanh.input"),
        "TFLite": (
            "BITWISE_XOR", "BUCKETIZE", "RANK", "RELU_0_TO_1", "RFFT2D", "RIGHT_SHIFT", "SIGN",
            "UNIQUE", "UNSORTED_SEGMENT_MAX", "UNSORTED_SEGMENT_SUM",
        ),
    },
    "0.27": {
        "ONNX": ("CastLike",),
        "torch": (
            "aten._assert_async.default", "aten._assert_async.msg", "aten.diagonal.default",
            "aten.round.decimals", "aten.scatter.src",
        ),
        "TFLite": ("STABLEHLO_RESHAPE", "STABLEHLO_SLICE", "STABLEHLO_TRANSPOSE"),
    },
}  # fmt: skip
# Of DLTensor, behind data, device, ndim, dtype, shape, and strides.
_BYTE_OFFSET = 8 + 8 + 4 + 4 + 8 + 8


def __getattr__(name: str) -> Any:
    """Return a name of TVM's core. Raises EnvironmentProblemError where TVM doesn't have it."""
    if name not in _CORE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    for root in CORE_ROOTS:
        try:
            return resolve_name(f"{root}.{_CORE[name]}")
        except (ImportError, AttributeError):
            continue
    raise EnvironmentProblemError(
        f"{this_tvm()} has no {_places(name)}, which pytest-tvmtune needs; {advice()}"
    )


def missing_names() -> list[str]:
    """Return the names that this TVM has in none of their places."""
    missing = []
    for name in _CORE:
        try:
            __getattr__(name)
        except EnvironmentProblemError:
            missing.append(_places(name))
    return missing


def _places(name: str) -> str:
    return " or ".join(f"{root}.{_CORE[name]}".replace(":", ".") for root in CORE_ROOTS)


def advice() -> str:
    """Return what to do about a version that doesn't work."""
    return (
        f"pytest-tvmtune is tested with apache-tvm {', '.join(TESTED)}: upgrade "
        f"pytest-tvmtune, or run pip install 'apache-tvm=={NEWEST_TESTED}.*'"
    )


def this_tvm() -> str:
    """Return what messages call the installed TVM: its version, and its place without a wheel."""
    return f"apache-tvm {package_version('tvm')} in {tvm_origin().path}"


def is_tested_pair(tvm: str, ffi: str) -> bool:
    """Return whether versions of apache-tvm and apache-tvm-ffi are known to work together."""
    tested = TESTED.get(minor(tvm))
    return tested is not None and ffi in tested.ffi_versions


def version_that_converts(importer: str, operators: Iterable[str]) -> str:
    """Return the minor version of TVM since when an importer has converters for all operators.

    importer: "ONNX", "torch", or "TFLite". "" if no tested version is known to have all of them.
    """
    since = {
        operator: version
        for version, converters in _NEW_CONVERTERS.items()
        for operator in converters[importer]
    }
    versions = [since.get(operator, "") for operator in operators]
    return "" if "" in versions else max(versions, key=list(TESTED).index, default="")


# apache-tvm 0.25 calls the types of Relax StructInfo, and the name of a variable a hint.


def type_of(expr: Any) -> Any:
    """Return the type of a Relax expression, None for anything else."""
    return _first_of(expr, "ty", "struct_info")


def return_type_of(function: Any) -> Any:
    """Return the type of a Relax function's result."""
    return _first_of(function, "ret_ty", "ret_struct_info")


def type_arguments_of(call: Any) -> Any:
    """Return the types that a call is given, as `call_tir` is given those of its outputs."""
    return _first_of(call, "ty_args", "sinfo_args")


def name_of(variable: Any) -> str:
    """Return the name of a variable of Relax."""
    return str(_first_of(variable, "name", "name_hint"))


def address_of(tensor: Any) -> int:
    """Return the address of a tensor's first element."""
    if hasattr(tensor, "data_ptr"):
        return int(tensor.data_ptr())
    # apache-tvm-ffi 0.1.12. Source: DLPack's DLManagedTensor, which begins with the DLTensor.
    get_pointer = ctypes.pythonapi.PyCapsule_GetPointer
    get_pointer.restype, get_pointer.argtypes = ctypes.c_void_p, (ctypes.py_object, ctypes.c_char_p)
    capsule = tensor._to_dlpack()  # noqa: SLF001
    managed = int(get_pointer(capsule, b"dltensor"))
    data = ctypes.c_void_p.from_address(managed).value or 0
    return data + ctypes.c_uint64.from_address(managed + _BYTE_OFFSET).value


def buffers_of(function: Any) -> list[Any]:
    """Return the buffers that a PrimFunc takes; each has a name, a shape, and a dtype."""
    # Until apache-tvm 0.26, parameters are variables, and a map leads to their buffers.
    buffers = getattr(function, "buffer_map", None) or {}
    return [buffers.get(param, param) for param in function.params]


def dtype_of_expr(expr: Any) -> str:
    """Return the dtype of an expression in a PrimFunc."""
    # apache-tvm 0.26 and later: of its type.
    return str(expr.dtype if hasattr(expr, "dtype") else expr.ty.dtype)


def bits_of(dtype: Any) -> int:
    """Return the bits of an element of a buffer."""
    from tvm import DataType

    parsed = DataType(str(dtype))
    return int(parsed.bits) * int(parsed.lanes)


def buffer_of(region: Any) -> Any:
    """Return the buffer of a region that a block reads or writes."""
    return _first_of(region, "source", "buffer")  # apache-tvm 0.26 and earlier: `buffer`


def tensor_type() -> type[Any]:
    """Return the class of a Relax tensor's type; it takes a shape and a dtype."""
    from tvm import relax

    found: type[Any] = getattr(relax, "TensorStructInfo", None) or relax.TensorType
    return found


def _first_of(value: Any, *names: str) -> Any:
    return next((getattr(value, name) for name in names if hasattr(value, name)), None)
