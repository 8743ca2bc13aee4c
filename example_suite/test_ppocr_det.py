"""Large models are marked `slow`: `make example` leaves them out, `-m slow` runs them alone.

PP-OCRv4's detector finds where text stands in a picture. Its weights are Constant nodes, which
the plugin makes parameters of, so that they can be prepacked.
"""

import numpy as np
import pytest
from onnx_models import model_file


@pytest.mark.slow
@pytest.mark.tvm_tune(trials=222, prepack="both")
def test_ppocr_det(tvm_tune):
    path = model_file("rapidocr-onnxruntime", "ch_PP-OCRv4_det_infer.onnx")
    rng = np.random.default_rng(4)
    pixels = np.clip(rng.standard_normal((1, 3, 320, 320)), -1, 1)
    inputs = {"x": pixels.astype("float32")}

    run = tvm_tune(path, shapes={"x": (1, 3, 320, 320)}, inputs=inputs)
    run.check("onnxruntime")
