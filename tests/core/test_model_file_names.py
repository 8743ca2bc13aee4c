"""Which files are meant, and what their cases are called."""

from __future__ import annotations

from pathlib import Path

import pytest

from pytest_tvmtune.core.errors import OptionError
from pytest_tvmtune.core.settings.model_file_patterns import (
    case_name,
    matches,
    parse_patterns,
    sidecar_path,
)


def test_patterns() -> None:
    assert parse_patterns("*.onnx", "w") == ("*.onnx",)
    assert parse_patterns(["*.onnx", "a/*.onnx", "*.onnx"], "w") == ("*.onnx", "a/*.onnx")
    assert parse_patterns(["off"], "w") == ()


@pytest.mark.parametrize("value", ["*.pt2", "models", "", 3, ["*.onnx", "off"], ["*.onnx", 3]])
def test_what_is_no_pattern(value: object) -> None:
    with pytest.raises(OptionError, match=r"ini tvm_collect: .* is not a pattern of ONNX files"):
        parse_patterns(value, "ini tvm_collect")


@pytest.mark.parametrize(
    ("patterns", "is_meant"),
    [
        (("*.onnx",), True),
        (("mlp*.onnx", "cnn*.onnx"), True),
        (("models/*.onnx",), True),
        (("other/*.onnx",), False),
        (("model.onnx",), False),
        ((), False),
    ],
)
def test_the_end_of_a_path_matches(patterns: tuple[str, ...], is_meant: bool) -> None:
    assert matches(Path("/some/models/mlp.onnx"), patterns) is is_meant


def test_names() -> None:
    assert case_name(Path("/models/resnet50/model.onnx")) == "resnet50"
    assert case_name(Path("/models/mlp-7.v2.onnx")) == "mlp-7.v2"
    assert case_name(Path("/model.onnx")) == "model"
    assert sidecar_path(Path("/models/mlp.v2.onnx")) == Path("/models/mlp.v2.tvmtune.toml")
