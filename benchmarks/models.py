"""The models of the benchmarks, from the example suite: the same ones a reader knows."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from pytest_tvmtune.relax import compat

if TYPE_CHECKING:
    from pytest_tvmtune.relax.model import Model

SUITE = Path(__file__).parents[1] / "example_suite"


def mlp() -> Model:
    """784-256-10, batch 1: four tasks."""
    from test_mlp import MLP, weights
    from tvm.relax.frontend import nn

    spec = {"forward": {"x": nn.spec.Tensor((1, 784), "float32")}}
    return _open(MLP(), name="mlp", spec=spec, params=weights(np.random.default_rng(0)))


def cnn() -> Model:
    """Two convolutions and a linear layer: five tasks."""
    from test_cnn import CNN
    from tvm.relax.frontend import nn

    return _open(
        CNN(), name="cnn", spec={"forward": {"x": nn.spec.Tensor((1, 3, 32, 32), "float32")}}
    )


def cnn_wide() -> Model:
    """The CNN with half as many channels again: the same operators in other shapes."""
    from test_cnn import CNN
    from tvm.relax.frontend import nn

    class WideCNN(CNN):  # type: ignore[misc]
        def __init__(self) -> None:
            self.conv1 = nn.Conv2D(3, 24, 3, stride=2, padding=1, bias=False)
            self.conv2 = nn.Conv2D(24, 48, 3, stride=2, padding=1, bias=False)
            self.head = nn.Linear(48 * 8 * 8, 10)

        def forward(self, x: nn.Tensor) -> nn.Tensor:
            x = nn.op.relu(self.conv1(x))
            x = nn.op.relu(self.conv2(x))
            return self.head(nn.op.reshape(x, (1, 48 * 8 * 8)))

    return _open(
        WideCNN(),
        name="cnn_wide",
        spec={"forward": {"x": nn.spec.Tensor((1, 3, 32, 32), "float32")}},
    )


def magika() -> Model:
    """Magika, which tells file types from bytes: 22 tasks."""
    from onnx_models import model_file

    path = model_file("magika", "model.onnx")
    # Made-up numbers could lie outside the byte values that index its table.
    content = np.arange(2048, dtype="int32").reshape(1, 2048) % 256
    return _open(path, name="magika", shapes={"bytes": (1, 2048)}, inputs={"bytes": content})


def ppocr_cls() -> Model:
    """PP-OCR's classifier: 70 tasks."""
    from onnx_models import model_file

    path = model_file("rapidocr-onnxruntime", "ch_ppocr_mobile_v2.0_cls_infer.onnx")
    return _open(path, name="ppocr_cls", shapes={"x": (1, 3, 48, 192)})


def silero_vad() -> Model:
    """Silero, which finds speech: 68 tasks."""
    from onnx_models import model_file

    path = model_file("silero-vad", "silero_vad_op18_ifless.onnx")
    return _open(
        path,
        name="silero_vad",
        shapes={"input": (1, 576), "state": (2, 1, 128)},
        inputs={
            "input": np.full((1, 576), 0.1, "float32"),
            "state": np.full((2, 1, 128), 0.1, "float32"),
            "sr": np.array(16000, "int64"),
        },
    )


def encoder_block() -> Model:
    """The block of a transformer, from torch: some ten tasks."""
    import torch_models

    x = np.random.default_rng(6).standard_normal((1, 32, 64)).astype("float32")
    block = torch_models.seeded(torch_models.EncoderBlock(64, 4), seed=6)
    return _open(block, name="encoder_block", inputs=(x,))


def resnet18() -> Model:
    """ResNet-18 from torch."""
    import torch_models

    x = np.random.default_rng(7).standard_normal((1, 3, 224, 224)).astype("float32")
    network = torch_models.seeded(torch_models.ResNet18(), seed=7)
    return _open(network, name="resnet18", inputs=(x,))


def wide() -> Model:
    """Made up: four square layers, 100 MB of parameters together."""
    from tvm import relax

    size = 2560
    vector = compat.tensor_type()((1, size), "float32")
    matrix = compat.tensor_type()((size, size), "float32")
    x, *weights = (
        relax.Var(name, vector if name == "x" else matrix) for name in ("x", "a", "b", "c", "d")
    )
    builder = relax.BlockBuilder()
    with builder.function("main", [x, *weights], attrs={"num_input": 1}):
        with builder.dataflow():
            value = x
            for weight in weights:
                value = builder.emit(relax.op.matmul(value, relax.op.permute_dims(weight)))
            result = builder.emit_output(value)
        builder.emit_func_output(result)
    return _open(builder.finalize(), name="wide")


MODELS: dict[str, Callable[[], Model]] = {
    "mlp": mlp,
    "cnn": cnn,
    "cnn_wide": cnn_wide,
    "magika": magika,
    "ppocr_cls": ppocr_cls,
    "silero_vad": silero_vad,
    "encoder_block": encoder_block,
    "resnet18": resnet18,
    "wide": wide,
}


def open_model(name: str) -> Model:
    """Return one of MODELS, with parameters and inputs."""
    sys.path.insert(0, str(SUITE))
    try:
        return MODELS[name]()
    finally:
        sys.path.remove(str(SUITE))


def _open(source: object, **given: object) -> Model:
    from pytest_tvmtune.relax import importing

    return importing.open_model(source, seed=0, **given)  # type: ignore[arg-type]
