"""First lesson: one model, one mark, four checks.

`trials=32` lets TVM's tuner measure 32 candidate schedules for the whole model; `prepack="both"`
makes two test items, one with `cpu_weight_prepack`. The first run tunes and compiles, and with
--tvm-update-new accepts what it made as the baseline. The second finds everything in the store.
"""

import numpy as np
import pytest
from tvm.relax.frontend import nn


class MLP(nn.Module):
    def __init__(self):
        self.hidden = nn.Linear(784, 256)
        self.out = nn.Linear(256, 10)

    def forward(self, x):
        return self.out(nn.op.relu(self.hidden(x)))


def weights(rng):
    """Parameters by their names in the module, as a checkpoint would give them."""
    return {
        "hidden.weight": rng.standard_normal((256, 784)).astype("float32") * 0.05,
        "hidden.bias": rng.standard_normal(256).astype("float32"),
        "out.weight": rng.standard_normal((10, 256)).astype("float32") * 0.05,
        "out.bias": rng.standard_normal(10).astype("float32"),
    }


def numpy_mlp(x, w):
    """Return the reference: independent of TVM, in double precision."""
    w = {name: array.astype("float64") for name, array in w.items()}
    hidden = np.maximum(x @ w["hidden.weight"].T + w["hidden.bias"], 0)
    return (hidden @ w["out.weight"].T + w["out.bias"]).astype("float32")


@pytest.mark.tvm_tune(trials=32, prepack="both")
def test_mlp(tvm_tune):
    rng = np.random.default_rng(0)
    x = rng.standard_normal((1, 784)).astype("float32")
    params = weights(rng)
    spec = {"forward": {"x": nn.spec.Tensor((1, 784), "float32")}}

    run = tvm_tune(MLP(), spec=spec, params=params, inputs={"x": x})

    run.assert_allclose(numpy_mlp(x, params))  # against our own reference
    run.assert_prepack_equivalent()  # prepacked and not: the same numbers
    run.assert_no_regression()  # against the accepted baseline, run again next to this library
    assert all(task.is_settled for task in run.tasks)  # each runs the fastest kernel known
