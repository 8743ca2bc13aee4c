"""Large models are marked `slow`: `make example-all` leaves them out, `-m slow` runs them alone.

PP-OCRv4's detector finds where text stands in a picture. Its weights are Constant nodes, which
the plugin makes parameters of, so that they can be prepacked.

Inputs matter: of noise it says that there is no text, with numbers near 0 that any fault might
leave there. Of a page it tells where the lines are. At their edges a probability moves by 1e-4 if
every pixel moves by its last bit, and by as much between two levels of onnxruntime's optimisation:
the tolerance leaves room for that.
"""

import numpy as np
import pytest
from onnx_models import model_file


def page():
    """Return (320, 320), from 0 (black) to 1: four lines of made-up signs."""
    rng = np.random.default_rng(4)
    picture = np.ones((320, 320))
    for top in (40, 120, 200, 260):
        for left in range(30, 280, 18):
            sign = rng.random((6, 4)) < 0.5
            picture[top : top + 24, left : left + 12] = 1 - np.kron(sign, np.ones((4, 3)))
    return picture


@pytest.mark.slow
@pytest.mark.tvm_tune(trials=222, prepack="both", rtol=0.0, atol=1e-3)
def test_ppocr_det(tvm_tune):
    path = model_file("rapidocr-onnxruntime", "ch_PP-OCRv4_det_infer.onnx")
    pixels = np.broadcast_to((page() - 0.5) / 0.5, (1, 3, 320, 320))
    inputs = {"x": pixels.astype("float32")}

    run = tvm_tune(path, shapes={"x": (1, 3, 320, 320)}, inputs=inputs)
    run.check("onnxruntime")
