"""A Model from TFLite: a file or a tflite.Model."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytest_tvmtune.core.errors import ImporterError, ModelError
from pytest_tvmtune.machine.import_errors import import_package
from pytest_tvmtune.relax.importing.importer_errors import (
    importer,
    innermost_local,
    require_file,
    unsupported,
)

if TYPE_CHECKING:
    from tvm.ir import IRModule

_INSTALL = "pip install 'pytest-tvmtune[tflite]'"
_IDENTIFIER = b"TFL3"
_CUSTOM = "CUSTOM"


def load_tflite(source: str | os.PathLike[str] | Any) -> IRModule:
    """Import a TFLite model in the shapes it has; TVM's importer makes its weights constants.

    Raises ModelError for a model that can't be read or imported, and UnsupportedOperatorError.
    """
    tflite = import_package("tflite", "reading TFLite models", _INSTALL)
    from tvm.relax.frontend import detach_params
    from tvm.relax.frontend.tflite import from_tflite

    label = "tflite.Model"
    if isinstance(source, (str, os.PathLike)):
        label, source = str(source), _read(tflite, Path(source))
    try:
        with importer(label, "TFLite", _place):
            mod = from_tflite(source)
    except ImporterError as error:
        if found := re.search(r"not supported in frontend TFLite: (.+)", str(error.__cause__)):
            names = set(re.findall(r"'([^']+)'", found[1]))
            nodes = [one for one in _operators(tflite, source) if one[0] in names]
            raise unsupported(label, "TFLite", nodes) from error.__cause__
        raise
    mod, _ = detach_params(mod)
    return mod


def _read(tflite: Any, path: Path) -> Any:
    require_file(path)
    content = path.read_bytes()
    if content[4:8] != _IDENTIFIER:
        raise ModelError(f"{path}: not a TFLite model: its identifier is {content[4:8]!r}")
    return tflite.Model.GetRootAs(content, 0)


def _operators(tflite: Any, model: Any) -> Iterator[tuple[str, str]]:
    """Return (name, where) of each operator of the main graph."""
    names = {code: name for name, code in vars(tflite.BuiltinOperator).items()}
    graph = model.Subgraphs(0)
    for index in range(graph.OperatorsLength()):
        code = model.OperatorCodes(graph.Operators(index).OpcodeIndex())
        # Files from before there were more than 127 fill in the old field only.
        name = names.get(max(code.BuiltinCode(), code.DeprecatedBuiltinCode()), "unknown")
        if name == _CUSTOM:
            name = code.CustomCode().decode(errors="replace")
        yield name, f"operator #{index}"


def _place(error: BaseException) -> str:
    index = innermost_local(error, "op_idx", "__index__")
    name = innermost_local(error, "op_code_str", "format")
    return "" if index is None else f"operator #{index} ({name})"
