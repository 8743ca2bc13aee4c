"""Models from TFLite, on models written here with TFLite's own schema, against numpy."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import flatbuffers
import numpy as np
import pytest
import tflite

from pytest_tvmtune.core.errors import ImporterError, ModelError, UnsupportedOperatorError
from pytest_tvmtune.relax.importing import open_model

RNG = np.random.default_rng(11)
W = RNG.standard_normal((3, 4)).astype("float32")
B = RNG.standard_normal(3).astype("float32")


def vector(builder: Any, start: Any, offsets: list[int]) -> int:
    start(builder, len(offsets))
    for offset in reversed(offsets):
        builder.PrependUOffsetTRelative(offset)
    return int(builder.EndVector())


def ints(builder: Any, values: list[int]) -> int:
    return int(builder.CreateNumpyVector(np.asarray(values, "int32")))


def tensor(builder: Any, name: str, shape: list[int], buffer: int) -> int:
    text, dims = builder.CreateString(name), ints(builder, shape)
    tflite.TensorStart(builder)
    tflite.TensorAddShape(builder, dims)
    tflite.TensorAddType(builder, tflite.TensorType.FLOAT32)
    tflite.TensorAddBuffer(builder, buffer)
    tflite.TensorAddName(builder, text)
    return int(tflite.TensorEnd(builder))


def linear_model(*, last: int = tflite.BuiltinOperator.RELU) -> bytes:
    """Return y = last(x @ W.T + B) as a file's content."""
    builder = flatbuffers.Builder(1024)
    buffers = []
    for data in (b"", W.tobytes(), B.tobytes()):
        content = builder.CreateByteVector(data)
        tflite.BufferStart(builder)
        tflite.BufferAddData(builder, content)
        buffers.append(tflite.BufferEnd(builder))
    tensors = [
        tensor(builder, "x", [2, 4], 0),
        tensor(builder, "w", [3, 4], 1),
        tensor(builder, "b", [3], 2),
        tensor(builder, "m", [2, 3], 0),
        tensor(builder, "y", [2, 3], 0),
    ]
    codes = []
    for code in (tflite.BuiltinOperator.FULLY_CONNECTED, last):
        tflite.OperatorCodeStart(builder)
        tflite.OperatorCodeAddDeprecatedBuiltinCode(builder, code)
        tflite.OperatorCodeAddBuiltinCode(builder, code)
        tflite.OperatorCodeAddVersion(builder, 1)
        codes.append(tflite.OperatorCodeEnd(builder))
    tflite.FullyConnectedOptionsStart(builder)
    options = tflite.FullyConnectedOptionsEnd(builder)
    operators = []
    for index, (takes, gives) in enumerate((([0, 1, 2], [3]), ([3], [4]))):
        inputs, outputs = ints(builder, takes), ints(builder, gives)
        tflite.OperatorStart(builder)
        tflite.OperatorAddOpcodeIndex(builder, index)
        tflite.OperatorAddInputs(builder, inputs)
        tflite.OperatorAddOutputs(builder, outputs)
        if index == 0:
            tflite.OperatorAddBuiltinOptionsType(
                builder, tflite.BuiltinOptions.FullyConnectedOptions
            )
            tflite.OperatorAddBuiltinOptions(builder, options)
        operators.append(tflite.OperatorEnd(builder))
    parts = [
        vector(builder, tflite.SubGraphStartTensorsVector, tensors),
        ints(builder, [0]),
        ints(builder, [4]),
        vector(builder, tflite.SubGraphStartOperatorsVector, operators),
    ]
    tflite.SubGraphStart(builder)
    tflite.SubGraphAddTensors(builder, parts[0])
    tflite.SubGraphAddInputs(builder, parts[1])
    tflite.SubGraphAddOutputs(builder, parts[2])
    tflite.SubGraphAddOperators(builder, parts[3])
    graph = tflite.SubGraphEnd(builder)
    parts = [
        vector(builder, tflite.ModelStartOperatorCodesVector, codes),
        vector(builder, tflite.ModelStartSubgraphsVector, [graph]),
        vector(builder, tflite.ModelStartBuffersVector, buffers),
    ]
    tflite.ModelStart(builder)
    tflite.ModelAddVersion(builder, 3)
    tflite.ModelAddOperatorCodes(builder, parts[0])
    tflite.ModelAddSubgraphs(builder, parts[1])
    tflite.ModelAddBuffers(builder, parts[2])
    builder.Finish(tflite.ModelEnd(builder), b"TFL3")
    return bytes(builder.Output())


@pytest.mark.each_version
@pytest.mark.parametrize("as_file", [True, False])
def test_a_model(tmp_path: Path, as_file: bool) -> None:
    import tvm
    from tvm import relax

    path = tmp_path / "linear.tflite"
    path.write_bytes(linear_model())
    x = RNG.standard_normal((2, 4)).astype("float32")
    source = path if as_file else tflite.Model.GetRootAs(linear_model(), 0)
    opened = open_model(source, name="m", inputs={"x": x})
    vm = relax.VirtualMachine(tvm.compile(opened.mod, "llvm"), tvm.cpu())
    got = vm["main"](tvm.runtime.tensor(opened.inputs[0])).numpy()
    np.testing.assert_allclose(got, np.maximum(x @ W.T + B, 0), rtol=1e-5, atol=1e-6)
    # TVM's importer makes weights constants; prepack lifts those too.
    assert opened.params == ()
    assert opened.signature.lifts_params


def test_what_can_not_be_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "model.tflite"
    with pytest.raises(ModelError, match="no such file"):
        open_model(path, name="m")
    path.write_text("once upon a time")
    with pytest.raises(ModelError, match=r"not a TFLite model: its identifier is b' upo'"):
        open_model(path, name="m")
    path.write_bytes(linear_model(last=tflite.BuiltinOperator.RNN))
    with pytest.raises(
        UnsupportedOperatorError, match=r"operator RNN \(operator #1, 1 in all"
    ) as e:
        open_model(path, name="m")
    assert e.value.operators == {"RNN": 1}
    for operator, said in {
        "CONV_2D": "AssertionError: input tensors length should be >= 2",
        "CONCATENATION": "AssertionError: assert ",
    }.items():
        path.write_bytes(linear_model(last=getattr(tflite.BuiltinOperator, operator)))
        with pytest.raises(ImporterError, match=rf"at operator #1 \({operator}\): {said}"):
            open_model(path, name="m")
    path.write_bytes(linear_model()[:300])
    with pytest.raises(ModelError, match="TVM's TFLite importer failed"):
        open_model(path, name="m")
    with pytest.raises(ModelError, match="TFLite models contain their"):
        open_model(path, name="m", params=[W])
    monkeypatch.setitem(sys.modules, "tflite", None)
    with pytest.raises(ModelError, match=r"pip install 'pytest-tvmtune\[tflite\]'"):
        open_model(path, name="m")
