"""Inputs and outputs in files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, numpy_helper

from pytest_tvmtune.core.errors import ModelError
from pytest_tvmtune.relax.importing.tensor_files import read_inputs, read_tensors

X = np.arange(6, dtype="float32").reshape(2, 3)


def write_tensor(path: Path, array: np.ndarray = X) -> Path:
    path.write_bytes(numpy_helper.from_array(array, "any").SerializeToString())
    return path


def test_each_kind_of_file(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", X)
    np.savez(tmp_path / "one.npz", other=X)
    np.savez(tmp_path / "many.npz", y=X + 1, z=X)
    write_tensor(tmp_path / "x.pb")
    given = {
        "a": tmp_path / "x.npy",
        "b": tmp_path / "one.npz",
        "y": tmp_path / "many.npz",
        "c": tmp_path / "x.pb",
        "d": 3,
    }
    read = read_inputs(given)
    assert isinstance(read, dict)
    assert read.pop("d") == 3
    for name, array in read.items():
        np.testing.assert_array_equal(array, X + (name == "y"))
    (first, second) = read_inputs([tmp_path / "x.npy", X])
    np.testing.assert_array_equal(first, second)
    assert read_inputs(None) is None


def test_a_folder_in_the_order_of_its_numbers(tmp_path: Path) -> None:
    for number in range(11):
        write_tensor(tmp_path / f"input_{number}.pb", X + number)
    write_tensor(tmp_path / "output_0.pb", np.asarray(True))
    read = read_inputs(tmp_path)
    assert [int(np.asarray(array)[0, 0]) for array in read or ()] == list(range(11))
    (output,) = read_tensors(tmp_path, "output")
    assert (output.dtype, output.shape) == (np.dtype("bool"), ())
    (tmp_path / "input_3.pb").unlink()
    with pytest.raises(ModelError, match=r"the file input_3\.pb is missing"):
        read_inputs(tmp_path)


def test_bfloat16_stays_what_it_is(tmp_path: Path) -> None:
    tensor = onnx.helper.make_tensor("x", TensorProto.BFLOAT16, [2], [1.5, -2.0])
    (tmp_path / "output_0.pb").write_bytes(tensor.SerializeToString())
    (output,) = read_tensors(tmp_path, "output")
    assert output.dtype.name == "bfloat16"
    assert output.astype("float32").tolist() == [1.5, -2.0]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("gone.npy", r"gone\.npy: can't be read: .*No such file"),
        ("cut.npy", r"cut\.npy: can't be read: "),
        ("objects.npy", r"objects\.npy: can't be read: Object arrays cannot be loaded"),
        ("cut.npz", r"cut\.npz: can't be read: "),
        ("many.npz", r"many\.npz: it has no array 'x'; it has y, z"),
        ("damaged.npz", r"damaged\.npz: 'y' can't be read: "),
        ("cut.pb", r"cut\.pb: not an ONNX tensor: "),
        ("empty.pb", r"empty\.pb: not an ONNX tensor: it has no tensor; sequences and"),
        ("gone.pb", r"gone\.pb: not an ONNX tensor: .*No such file"),
    ],
)
def test_files_that_cannot_be_read(tmp_path: Path, name: str, message: str) -> None:
    path = tmp_path / name
    np.savez(tmp_path / "many.npz", y=X, z=X)
    np.save(tmp_path / "objects.npy", np.asarray([{}]), allow_pickle=True)
    np.savez(tmp_path / "damaged.npz", y=X)
    damaged = bytearray((tmp_path / "damaged.npz").read_bytes())
    damaged[damaged.index(X.tobytes()) + 5] ^= 1
    (tmp_path / "damaged.npz").write_bytes(damaged)
    np.save(tmp_path / "cut.npy", X)
    (tmp_path / "cut.npy").write_bytes((tmp_path / "cut.npy").read_bytes()[:-4])
    (tmp_path / "cut.npz").write_bytes((tmp_path / "many.npz").read_bytes()[:100])
    (tmp_path / "cut.pb").write_bytes(write_tensor(tmp_path / "x.pb").read_bytes()[:-4])
    (tmp_path / "empty.pb").touch()
    with pytest.raises(ModelError, match=message):
        read_inputs({"x": path})


def test_what_is_no_folder(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="is not a folder of ONNX test data"):
        read_inputs(tmp_path / "none")
