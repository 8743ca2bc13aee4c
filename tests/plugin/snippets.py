"""Pieces of the suites that the plugin's tests write."""

from __future__ import annotations

TINY = '''
import numpy as np
import pytest
from tvm.relax.frontend import nn

class Tiny(nn.Module):
    """x @ w.T + b, with an 8x8 weight."""
    def __init__(self):
        self.fc = nn.Linear(8, 8)
    def forward(self, x):
        return self.fc(x)

SPEC = {"forward": {"x": nn.spec.Tensor((2, 8), "float32")}}
RNG = np.random.default_rng(0)
X = RNG.standard_normal((2, 8)).astype("float32")
W = RNG.standard_normal((8, 8)).astype("float32")
B = RNG.standard_normal(8).astype("float32")
GIVEN = dict(spec=SPEC, params={"fc.weight": W, "fc.bias": B}, inputs={"x": X})
EXPECTED = X @ W.T + B
'''

# A marked test without any model: enough for what is found before a test runs.
MARKED = """
import pytest

@pytest.mark.tvm_tune(trials=0)
def test_marked(tvm_tune):
    pass
"""

PLAIN = "def test_plain():\n    pass\n"

WORKERS = [(), ("-n", "2")]
WORKER_IDS = ["plain", "xdist"]
