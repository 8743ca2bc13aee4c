"""Sixth lesson: one block of a transformer, from `relax.frontend.nn` and from torch.

The torch module brings its parameters, and is the reference by itself: `check("torch")`. The
nn.Module has the same names for the same weights, so that it takes them from there.
"""

import numpy as np
import pytest
from tvm.relax.frontend import nn

WIDTH, HEADS, LENGTH = 64, 4, 32
X = np.random.default_rng(6).standard_normal((1, LENGTH, WIDTH)).astype("float32")


class EncoderBlock(nn.Module):
    def __init__(self):
        self.norm1 = nn.LayerNorm(WIDTH)
        self.qkv = nn.Linear(WIDTH, 3 * WIDTH)
        self.out = nn.Linear(WIDTH, WIDTH)
        self.norm2 = nn.LayerNorm(WIDTH)
        self.up = nn.Linear(WIDTH, 4 * WIDTH)
        self.down = nn.Linear(4 * WIDTH, WIDTH)

    def forward(self, x):
        each = WIDTH // HEADS
        parts = nn.op.reshape(self.qkv(self.norm1(x)), (1, LENGTH, 3 * HEADS, each))
        q, k, v = nn.op.split(nn.op.permute_dims(parts, [0, 2, 1, 3]), 3, axis=1)
        scores = nn.op.matmul(q, nn.op.permute_dims(k, [0, 1, 3, 2])) * each**-0.5
        attended = nn.op.matmul(nn.op.softmax(scores, axis=-1), v)
        attended = nn.op.reshape(nn.op.permute_dims(attended, [0, 2, 1, 3]), (1, LENGTH, WIDTH))
        x = x + self.out(attended)
        return x + self.down(nn.op.gelu(self.up(self.norm2(x))))


@pytest.fixture
def block():
    torch_models = pytest.importorskip("torch_models", exc_type=ImportError)
    return torch_models.seeded(torch_models.EncoderBlock(WIDTH, HEADS), seed=6)


@pytest.mark.tvm_tune(trials=40, prepack="both")
def test_encoder_block(tvm_tune, block):
    params = {name: tensor.numpy() for name, tensor in block.state_dict().items()}
    spec = {"forward": {"x": nn.spec.Tensor(X.shape, "float32")}}

    run = tvm_tune(EncoderBlock(), spec=spec, params=params, inputs=[X])
    run.check(lambda x: block(block.up.weight.new_tensor(x)).detach())


@pytest.mark.tvm_tune(trials=40, prepack="both")
def test_torch_encoder_block(tvm_tune, block):
    run = tvm_tune(block, inputs=(X,))
    run.check("torch")
