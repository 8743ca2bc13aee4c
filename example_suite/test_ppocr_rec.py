"""PP-OCRv4's recogniser reads a line of text: 6625 characters to choose from, at 40 places.

LLVM takes minutes to compile it, and on a machine with other work more than the ten of the default
`timeout`.
"""

import numpy as np
import pytest
from onnx_models import model_file


@pytest.mark.slow
@pytest.mark.tvm_tune(trials=216, prepack="both", rtol=1e-3, atol=1e-4, timeout="1800s")
def test_ppocr_rec(tvm_tune):
    path = model_file("rapidocr-onnxruntime", "ch_PP-OCRv4_rec_infer.onnx")
    rng = np.random.default_rng(5)
    pixels = np.clip(rng.standard_normal((1, 3, 48, 320)), -1, 1)
    inputs = {"x": pixels.astype("float32")}

    run = tvm_tune(path, shapes={"x": (1, 3, 48, 320)}, inputs=inputs)
    run.check("onnxruntime")
