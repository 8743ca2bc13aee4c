"""onnxruntime: folds an ONNX model's constants before import, and computes its reference."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from pytest_tvmtune.core.error_text import cause_of
from pytest_tvmtune.core.errors import ModelError
from pytest_tvmtune.core.signature import Array

INSTALL = "pip install 'pytest-tvmtune[onnx]'"
_SILENT = 4


def can_run() -> bool:
    """Whether onnxruntime is installed."""
    try:
        import onnxruntime  # noqa: F401
    except ImportError:
        return False
    return True


def fold_constants(proto: Any, label: str) -> Any:
    """Return the model with constant subgraphs computed, which TVM's importer can't import.

    Raises ModelError when onnxruntime refuses the model.
    """
    import onnx
    import onnxruntime

    options = onnxruntime.SessionOptions()
    # BASIC folds constants and drops what is redundant, but fuses nothing into its own operators.
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    with tempfile.TemporaryDirectory() as folder:
        options.optimized_model_filepath = str(Path(folder) / "folded.onnx")
        _open_session(proto, label, options)
        return onnx.load(options.optimized_model_filepath)


def compute_outputs(proto: Any, label: str, feed: dict[str, Array]) -> Any:
    """Return the model's outputs as onnxruntime computes them: an array, or a tuple of several.

    feed: runtime inputs by the model's own names. Raises ModelError.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    # What is compared shall be what the file says, not onnxruntime's own fusions.
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    session = _open_session(proto, label, options)
    try:
        outputs = session.run(None, feed)
    except Exception as error:  # onnxruntime raises types of its own
        raise ModelError(f"{label}: onnxruntime failed to run it: {cause_of(error)}") from error
    return outputs[0] if len(outputs) == 1 else tuple(outputs)


def _open_session(proto: Any, label: str, options: Any) -> Any:
    import onnxruntime

    options.log_severity_level = _SILENT
    # A pool of threads would be started for nothing, and complains where cores are restricted.
    options.intra_op_num_threads = 1
    try:
        return onnxruntime.InferenceSession(
            proto.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )
    except Exception as error:  # onnxruntime raises types of its own
        raise ModelError(
            f"{label}: onnxruntime refuses the model: {cause_of(error)}; "
            "check it with onnx.checker.check_model, and shapes=... if given"
        ) from error
