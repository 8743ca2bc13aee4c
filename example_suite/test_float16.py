"""Seventh lesson: other types. The MLP of the first lesson, in float16.

Tolerances follow the dtype of each output: float16 has 3 digits. Here a sum of 784 such numbers is
made in float16, in an order of the schedule's choosing, and loses one more: `atol` says so.
"""

import numpy as np
import pytest
from test_mlp import MLP, numpy_mlp, weights
from tvm.relax.frontend import nn


@pytest.mark.tvm_tune(trials=32, prepack="both", atol=0.03)
def test_float16_mlp(tvm_tune):
    rng = np.random.default_rng(8)
    x = rng.standard_normal((1, 784)).astype("float16")
    params = {name: array.astype("float16") for name, array in weights(rng).items()}
    spec = {"forward": {"x": nn.spec.Tensor((1, 784), "float16")}}
    mlp = MLP()
    mlp.to("float16")

    run = tvm_tune(mlp, spec=spec, params=params, inputs={"x": x})
    run.check(numpy_mlp(x.astype("float64"), params))
