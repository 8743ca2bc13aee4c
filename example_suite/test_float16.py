"""Seventh lesson: other types. The MLP of the first lesson, in float16.

Tolerances follow the dtype of each output, so that none has to be given: float16 has 3 digits.
"""

import numpy as np
import pytest
from test_mlp import MLP, numpy_mlp, weights
from tvm.relax.frontend import nn


@pytest.mark.tvm_tune(trials=32, prepack="both")
def test_float16_mlp(tvm_tune):
    rng = np.random.default_rng(8)
    x = rng.standard_normal((1, 784)).astype("float16")
    params = {name: array.astype("float16") for name, array in weights(rng).items()}
    spec = {"forward": {"x": nn.spec.Tensor((1, 784), "float16")}}
    mlp = MLP()
    mlp.to("float16")

    run = tvm_tune(mlp, spec=spec, params=params, inputs={"x": x})
    run.check(numpy_mlp(x.astype("float64"), params))
