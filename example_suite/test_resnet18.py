"""A network of ResNet-18's size from torch. Its BatchNorms' statistics are parameters, too."""

import numpy as np
import pytest


@pytest.mark.slow
@pytest.mark.tvm_tune(trials=144, prepack="both", rtol=1e-3, atol=1e-3)
def test_resnet18(tvm_tune):
    torch_models = pytest.importorskip("torch_models", exc_type=ImportError)
    network = torch_models.seeded(torch_models.ResNet18(), seed=7)
    x = np.random.default_rng(7).standard_normal((1, 3, 224, 224)).astype("float32")

    run = tvm_tune(network, inputs=(x,))
    run.check("torch")
