"""The suite that the pictures show: a service's models, before and after a week's changes.

AFTER=1 makes the changes: the encoder goes through its layers once more, the decoder once less, the
ranker computes in another order, the embedder is new, and one expectation is wrong.
"""

import os

import numpy as np
import pytest
from tvm.relax.frontend import nn

AFTER = os.environ.get("AFTER") == "1"
RNG = np.random.default_rng(1)


class Mlp(nn.Module):
    """Layers of one width, each with a ReLU, gone through some times over."""

    def __init__(self, width, depth, *, times=1, scaled_first=False):
        self.layers = nn.ModuleList([nn.Linear(width, width) for _ in range(depth)])
        self.times = times
        self.scaled_first = scaled_first

    def forward(self, x):
        for _ in range(self.times):
            for layer in self.layers:
                x = layer(x * 0.5) if self.scaled_first else layer(x) * 0.5
                x = nn.op.relu(x)
        return x


def spec(rows, width):
    return {"forward": {"x": nn.spec.Tensor((rows, width), "float32")}}


@pytest.mark.tvm_tune(trials=0)
def test_encoder(tvm_tune):
    tvm_tune(Mlp(128, 2, times=3 if AFTER else 2), spec=spec(16, 128)).check()


@pytest.mark.tvm_tune(trials=0, prepack="on")
def test_decoder(tvm_tune):
    tvm_tune(Mlp(96, 2, times=1 if AFTER else 2), spec=spec(16, 96)).check()


@pytest.mark.tvm_tune(trials=0)
def test_classifier(tvm_tune):
    tvm_tune(Mlp(64, 2), spec=spec(8, 64)).check()


@pytest.mark.tvm_tune(trials=0)
def test_ranker(tvm_tune):
    tvm_tune(Mlp(128, 1, scaled_first=AFTER), spec=spec(8, 128)).check()


@pytest.mark.tvm_tune(trials=0)
def test_scorer(tvm_tune):
    x = RNG.standard_normal((4, 64), "float32")
    w, b = RNG.standard_normal((64, 64), "float32"), RNG.standard_normal(64, "float32")
    params = {"layers.0.weight": w, "layers.0.bias": b}
    expected = np.maximum((x @ w.T + b) * 0.5, 0)
    if AFTER:
        expected[0, :5] += 0.25
    tvm_tune(Mlp(64, 1), spec=spec(4, 64), params=params, inputs={"x": x}).check(expected)


@pytest.mark.skipif(not AFTER, reason="it came this week")
@pytest.mark.tvm_tune(trials=24)
def test_embedder(tvm_tune):
    tvm_tune(Mlp(128, 2), spec=spec(32, 128)).check()
