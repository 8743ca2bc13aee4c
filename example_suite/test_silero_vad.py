"""Fifth lesson: several inputs, one of rank 0, and several outputs.

Silero VAD finds speech; it takes a piece of sound, the sampling rate (a scalar) and its state, and
returns a probability and the next state. Outputs are compared as a tuple, each by its own dtype.
"""

import numpy as np
import pytest
from onnx_models import model_file


@pytest.mark.tvm_tune(trials=80, prepack="both")
def test_silero_vad(tvm_tune):
    path = model_file("silero-vad", "silero_vad_op18_ifless.onnx")
    rng = np.random.default_rng(3)
    inputs = {
        "input": (rng.standard_normal((1, 576)) * 0.1).astype("float32"),
        # Not zeros, as at the start of a sound: they would hide a mistake in how state is used.
        "state": (rng.standard_normal((2, 1, 128)) * 0.5).astype("float32"),
        "sr": np.array(16000, "int64"),
    }

    run = tvm_tune(path, shapes={"input": (1, 576), "state": (2, 1, 128)}, inputs=inputs)
    assert len(run.outputs) == 2
    run.check("onnxruntime")
