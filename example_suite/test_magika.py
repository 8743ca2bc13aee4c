"""Third lesson: an ONNX file is a model too, and onnxruntime its reference.

Magika tells file types from bytes. Its batch is dynamic in the file: `shapes` makes it static,
by the file's own input name. Its 22 tasks share 96 trials: each gets some, then those from which
most is expected. Tuning makes it some twenty times faster.

It needs a tolerance of its own: TVM computes a variance as E[x^2] - E[x]^2, where the rounding of
two sums must cancel. Tuning reorders one of them, and though it then rounds less, a probability
moves by up to a thousandth.
"""

import numpy as np
import pytest
from onnx_models import model_file


@pytest.mark.tvm_tune(trials=96, prepack="both", rtol=0.0, atol=5e-3)
def test_magika(tvm_tune):
    path = model_file("magika", "model.onnx")
    content = np.frombuffer(__doc__.encode().ljust(2048), dtype="uint8")[:2048]
    inputs = {"bytes": content.astype("int32").reshape(1, 2048)}

    run = tvm_tune(path, shapes={"bytes": (1, 2048)}, inputs=inputs)
    run.check("onnxruntime")
