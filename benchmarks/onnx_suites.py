"""The test data of the onnx package, laid out as folders of models that pytest collects."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx.backend.test
from onnx import numpy_helper

_DATA = Path(onnx.backend.test.__file__).parent / "data"


def lay_out(suite: str, folder: Path) -> None:
    """Write each model of a suite to `<folder>/<name>/model.onnx`, with its test data beside it."""
    if not folder.exists():
        beside = folder.with_name(f"{folder.name}.tmp")
        shutil.rmtree(beside, ignore_errors=True)
        SUITES[suite](_DATA / suite, beside)
        beside.rename(folder)


def _copy(data: Path, folder: Path) -> None:
    for model in sorted(data.glob("*/model.onnx")):
        shutil.copytree(model.parent, folder / model.parent.name)


def _write_light(data: Path, folder: Path) -> None:
    """Real networks, whose weights are computed by ConstantOfShape.

    Their inputs are made up as onnx's own runner does, whose tolerances stand with the full models.
    """
    for path in sorted(data.glob("*.onnx")):
        name = path.stem.removeprefix("light_")
        beside = folder / name / "test_data_set_0"
        beside.mkdir(parents=True)
        shutil.copy(path, folder / name / "model.onnx")
        for output in data.glob(f"{path.stem}_output_*.pb"):
            shutil.copy(output, beside / output.name.removeprefix(f"{path.stem}_"))
        graph = onnx.load(path).graph
        weights = {tensor.name for tensor in graph.initializer}
        inputs = [value for value in graph.input if value.name not in weights]
        for index, value in enumerate(inputs):
            shape = [dim.dim_value or 1 for dim in value.type.tensor_type.shape.dim]
            count = int(np.prod(shape))
            values = np.arange(count).reshape(shape) / count
            _write(beside / f"input_{index}.pb", np.float32(values))
        told = json.loads((data.parent / "real" / f"test_{name}" / "data.json").read_text())
        (folder / name / "model.tvmtune.toml").write_text(
            f"rtol = {told['rtol']}\natol = {told['atol']}\n"
        )


def _write_node(_: Path, folder: Path) -> None:
    """One operator each, made by the package's own generators; the wheel ships no files of them."""
    from onnx.backend.test.loader import load_model_tests

    for case in load_model_tests(kind="node"):
        path = folder / case.name / "model.onnx"
        path.parent.mkdir(parents=True)
        onnx.save(case.model, path)
        for number, (inputs, outputs) in enumerate(case.data_sets):
            beside = path.parent / f"test_data_set_{number}"
            beside.mkdir()
            for kind, values in {"input": inputs, "output": outputs}.items():
                for index, value in enumerate(values):
                    _write(beside / f"{kind}_{index}.pb", value)


def _write(path: Path, value: Any) -> None:
    if isinstance(value, list):
        value = numpy_helper.from_list(value)
    elif value is None or isinstance(value, np.ndarray | np.generic):
        value = numpy_helper.from_array(np.asarray([] if value is None else value))
    path.write_bytes(value.SerializeToString())


SUITES: dict[str, Callable[[Path, Path], None]] = {
    "simple": _copy,
    "pytorch-operator": _copy,
    "pytorch-converted": _copy,
    "light": _write_light,
    "node": _write_node,
}
