"""Fourth lesson: tolerances. The mark's `rtol` and `atol` hold for every comparison of the test.

PP-OCR's classifier tells whether a line of text stands upside down. Its output is a softmax, so an
absolute tolerance says more than the default for float32.
"""

import numpy as np
import pytest
from onnx_models import model_file


@pytest.mark.tvm_tune(trials=80, prepack="both", rtol=0.0, atol=1e-5)
def test_ppocr_cls(tvm_tune):
    path = model_file("rapidocr-onnxruntime", "ch_ppocr_mobile_v2.0_cls_infer.onnx")
    rng = np.random.default_rng(2)
    pixels = np.clip(rng.standard_normal((1, 3, 48, 192)), -1, 1)
    inputs = {"x": pixels.astype("float32")}

    run = tvm_tune(path, shapes={"x": (1, 3, 48, 192)}, inputs=inputs)
    run.check("onnxruntime")
