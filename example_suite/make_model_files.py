"""Write the models of model_files/ again: python example_suite/make_model_files.py.

It stands outside of that folder, which thereby holds no Python: pytest collects its models by
itself, as `pytest example_suite/model_files`.
"""

from pathlib import Path

import numpy as np
import onnx
from onnx import numpy_helper, parser
from onnx.reference import ReferenceEvaluator

FOLDER = Path(__file__).parent / "model_files"
HEAD = '<ir_version: 8, opset_import: ["" : 17]>'
CONV = """
conv (float[1, 1, 12, 12] image) => (float[1, 10] scores) {
    c1 = Conv <kernel_shape = [3, 3], strides = [2, 2], pads = [1, 1, 1, 1]> (image, k1, b1)
    r1 = Relu (c1)
    c2 = Conv <kernel_shape = [3, 3], pads = [1, 1, 1, 1]> (r1, k2, b2)
    r2 = Relu (c2)
    pooled = GlobalAveragePool (r2)
    flat = Flatten (pooled)
    scores = Gemm <transB = 1> (flat, w, b)
}"""
ATTENTION = """
attention (float[batch, length, 16] x) => (float[batch, length, 16] y) {
    q = MatMul (x, wq)
    k = MatMul (x, wk)
    v = MatMul (x, wv)
    kt = Transpose <perm = [0, 2, 1]> (k)
    s = MatMul (q, kt)
    p = Softmax <axis = -1> (s)
    y = MatMul (p, v)
}"""
# As onnxruntime's dynamic quantisation makes it: int8 weights, uint8 activations, int32 sums.
QUANTIZED = """
quantized (float[1, 32] x) => (float[1, 16] y) {
    xq, x_scale, x_zero = DynamicQuantizeLinear (x)
    sums = MatMulInteger (xq, wq, x_zero, w_zero)
    wide = Cast <to = 1> (sums)
    scale = Mul (x_scale, w_scale)
    scaled = Mul (wide, scale)
    biased = Add (scaled, b)
    y = Relu (biased)
}"""


def write(path, text, weights):
    """Write a model in ONNX's text form, with arrays for what it doesn't compute."""
    model = parser.parse_model(HEAD + text)
    model.graph.initializer.extend(numpy_helper.from_array(a, name) for name, a in weights.items())
    onnx.checker.check_model(model, full_check=True)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(model.SerializeToString(deterministic=True))
    return model


def write_data_set(folder, model, x):
    """Write an input, and what onnx's own evaluator computes of it, in the ONNX convention."""
    folder.mkdir(exist_ok=True)
    (y,) = ReferenceEvaluator(model).run(None, {model.graph.input[0].name: x})
    for name, array in {"input_0": x, "output_0": y}.items():
        (folder / f"{name}.pb").write_bytes(
            numpy_helper.from_array(array, name).SerializeToString()
        )


def main():
    rng = np.random.default_rng(9)

    def normal(*shape):
        return (rng.standard_normal(shape) * 0.3).astype("float32")

    conv = {"k1": normal(8, 1, 3, 3), "b1": normal(8), "k2": normal(8, 8, 3, 3), "b2": normal(8)}
    write(FOLDER / "conv.onnx", CONV, {**conv, "w": normal(10, 8), "b": normal(10)})
    write(FOLDER / "attention.onnx", ATTENTION, {w: normal(16, 16) for w in ("wq", "wk", "wv")})
    quantized = {
        "wq": rng.integers(-127, 128, (32, 16)).astype("int8"),
        "w_zero": np.array(0, "int8"),
        "w_scale": np.array(0.01, "float32"),
        "b": normal(16),
    }
    # A file called model.onnx is a case with its folder's name. It owns the data set next to it.
    folder = FOLDER / "quantized"
    model = write(folder / "model.onnx", QUANTIZED, quantized)
    for number in (0, 1):
        write_data_set(folder / f"test_data_set_{number}", model, normal(1, 32))


if __name__ == "__main__":
    main()
