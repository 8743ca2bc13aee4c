"""Second lesson: `run.check()` makes every check and fails once with all findings.

The mark can stand on a class or a module too; the closest one wins for each argument. The
reference convolution is written with numpy alone.
"""

import numpy as np
import pytest
from tvm.relax.frontend import nn

pytestmark = pytest.mark.tvm_tune(prepack="both")


class CNN(nn.Module):
    """Two convolutions with stride 2, then a linear layer over all that is left."""

    def __init__(self):
        self.conv1 = nn.Conv2D(3, 16, 3, stride=2, padding=1, bias=False)
        self.conv2 = nn.Conv2D(16, 32, 3, stride=2, padding=1, bias=False)
        self.head = nn.Linear(32 * 8 * 8, 10)

    def forward(self, x):
        x = nn.op.relu(self.conv1(x))
        x = nn.op.relu(self.conv2(x))
        return self.head(nn.op.reshape(x, (1, 32 * 8 * 8)))


def numpy_conv(x, w):
    """3x3, stride 2, padding 1; x: NCHW, w: OIHW."""
    padded = np.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), axis=(2, 3))
    return np.einsum("nchwij,ocij->nohw", windows[:, :, ::2, ::2], w)


def numpy_cnn(x, w):
    x = x.astype("float64")
    for name in ("conv1.weight", "conv2.weight"):
        x = np.maximum(numpy_conv(x, w[name].astype("float64")), 0)
    return (x.reshape(1, -1) @ w["head.weight"].T + w["head.bias"]).astype("float32")


@pytest.mark.tvm_tune(trials=24)
def test_cnn(tvm_tune):
    rng = np.random.default_rng(1)
    x = rng.standard_normal((1, 3, 32, 32)).astype("float32")
    shapes = {
        "conv1.weight": (16, 3, 3, 3),
        "conv2.weight": (32, 16, 3, 3),
        "head.weight": (10, 2048),
        "head.bias": (10,),
    }
    params = {n: (rng.standard_normal(s) * 0.1).astype("float32") for n, s in shapes.items()}
    spec = {"forward": {"x": nn.spec.Tensor((1, 3, 32, 32), "float32")}}

    run = tvm_tune(CNN(), spec=spec, params=params, inputs=[x])
    run.check(numpy_cnn(x, params))
