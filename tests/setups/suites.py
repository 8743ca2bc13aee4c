"""Pieces of the suites that the set-ups are made of."""

from __future__ import annotations

# x @ w.T + b, with an 8x8 weight.
MODEL = """
import numpy as np
import pytest
from tvm.relax.frontend import nn


class Tiny(nn.Module):
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
"""

ONE = (
    MODEL
    + """

@pytest.mark.tvm_tune(trials=0)
def test_tiny(tvm_tune):
    tvm_tune(Tiny(), **GIVEN).check(EXPECTED)
"""
)

TWO = (
    ONE
    + """

@pytest.mark.tvm_tune(trials=0)
def test_other(tvm_tune):
    tvm_tune(Tiny(), **GIVEN).check(EXPECTED)
"""
)

# Nothing imports TVM before the plugin does, but for tiny.py when the test runs.
LAZY = {
    "tiny.py": MODEL,
    "test_one.py": """
import pytest

@pytest.mark.tvm_tune(trials=0)
def test_tiny(tvm_tune):
    import tiny

    tvm_tune(tiny.Tiny(), **tiny.GIVEN).check(tiny.EXPECTED)
""",
}

TUNED = ONE.replace("trials=0", "trials=2")

WRONG = ONE.replace("check(EXPECTED)", "check(EXPECTED + 1)")

XFAIL_WRONG = WRONG.replace("@pytest", "@pytest.mark.xfail(reason='known', strict=True)\n@pytest")

# Wrong at its first attempt, right at the second.
FLAKY = (
    MODEL
    + """
ATTEMPTS = []


@pytest.mark.tvm_tune(trials=0)
def test_tiny(tvm_tune):
    ATTEMPTS.append(1)
    tvm_tune(Tiny(), **GIVEN).check(EXPECTED if len(ATTEMPTS) > 1 else EXPECTED + 1)
"""
)
