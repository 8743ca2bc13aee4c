"""Golden outputs on disk: what comes back, and what damaged, strange and hostile files do."""

from __future__ import annotations

import contextlib
import io
import json
import pickle
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest

from pytest_tvmtune.core.comparing.golden_outputs import Golden
from pytest_tvmtune.core.errors import GoldenError, StoreError
from pytest_tvmtune.store.accepted.golden_files import read_golden, write_golden

OUTPUTS = {
    "output[0]": np.array([[1.5, np.nan], [-0.0, np.inf]], "float32"),
    "output[1][0]": np.array([2**63 - 1, -(2**63)]),
    "output[1][1]": np.array(True),
    "output[2]": np.zeros((0, 3), "float16"),
    "output[3]": np.array([1.5, -2.0, np.nan], ml_dtypes.bfloat16),
    "output[4]": np.array(0.5, ml_dtypes.float8_e4m3fn),
    "output[5]": np.array([1, -2], ml_dtypes.int4),
    "output[6]": np.asfortranarray(np.arange(6.0).reshape(2, 3)),
}
GOLDEN = Golden(identity={"path": "test_it.py"}, data_digest="ab" * 32, outputs=OUTPUTS)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "tvmtune_golden" / "it.npz"


def test_every_bit_comes_back(path: Path) -> None:
    assert read_golden(path) is None
    write_golden(path, GOLDEN)
    back = read_golden(path)
    assert back is not None
    assert (back.identity, back.data_digest) == (GOLDEN.identity, GOLDEN.data_digest)
    assert list(back.outputs) == list(OUTPUTS)
    for name, array in OUTPUTS.items():
        assert (back.outputs[name].dtype, back.outputs[name].shape) == (array.dtype, array.shape)
        assert back.outputs[name].tobytes() == array.tobytes()
    assert [one.name for one in path.parent.iterdir()] == ["it.npz"]


def test_numpy_can_show_it(path: Path) -> None:
    write_golden(path, GOLDEN)
    with np.load(path, allow_pickle=False) as shown:
        assert np.array_equal(shown["output[0]"], OUTPUTS["output[0]"], equal_nan=True)
        assert shown["output[3]"].dtype == np.uint16
        assert json.loads(shown["golden.json"])["outputs"][4]["dtype"] == "bfloat16"


def test_the_same_outputs_make_the_same_bytes(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_golden(path, GOLDEN)
    first = path.read_bytes()
    monkeypatch.setattr(time, "time", lambda: 2e9)
    write_golden(path, GOLDEN)
    assert path.read_bytes() == first


def test_it_is_compressed(path: Path) -> None:
    zeros = Golden(identity={}, data_digest="ab" * 32, outputs={"output": np.zeros(100_000)})
    write_golden(path, zeros)
    assert path.stat().st_size < 5_000


def test_a_file_cut_anywhere_or_with_a_byte_turned_is_told(path: Path) -> None:
    write_golden(path, GOLDEN)
    whole = path.read_bytes()
    for length in range(0, len(whole), 37):
        path.write_bytes(whole[:length])
        with pytest.raises(GoldenError, match=r"it\.npz can't be read as golden outputs"):
            read_golden(path)
    for index in range(0, len(whole), 11):
        content = bytearray(whole)
        content[index] ^= 0xFF
        path.write_bytes(content)
        # Some bytes mean nothing (dates, attributes): then all is as it was.
        with contextlib.suppress(GoldenError):
            back = read_golden(path)
            assert back is not None
            assert all(back.outputs[n].tobytes() == a.tobytes() for n, a in OUTPUTS.items())


def _npz_of(facts: Any, **members: bytes) -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        archive.writestr("golden.json", json.dumps(facts))
        for name, member in members.items():
            archive.writestr(f"{name}.npy", member)
    return content.getvalue()


def _npy(array: Any, **options: Any) -> bytes:
    member = io.BytesIO()
    np.save(member, array, **options)
    return member.getvalue()


def _facts(dtype: str = "float64", shape: tuple[int, ...] = (2,), **other: Any) -> dict[str, Any]:
    one = {"path": "output", "dtype": dtype, "shape": list(shape)}
    return {"schema": 1, "identity": {}, "data_digest": "ab" * 32, "outputs": [one], **other}


class _Evil:
    def __reduce__(self) -> tuple[Callable[..., Any], tuple[str]]:
        return pytest.fail, ("a pickle was loaded",)


@pytest.mark.parametrize(
    "content",
    [
        pickle.dumps(_Evil()),
        _npz_of(_facts("object"), output=_npy(np.array([_Evil(), 1], object), allow_pickle=True)),
        _npz_of(_facts(), output=pickle.dumps(_Evil())),
        _npy(np.ones(2)),
        _npz_of(_facts()),
        _npz_of(_facts(), output=_npy(np.ones(3))),
        _npz_of(_facts(), output=_npy(np.ones(2, "f4"))),
        _npz_of(_facts("bfloat16"), output=_npy(np.ones(2, "u1"))),
        _npz_of(_facts("no_such_type"), output=_npy(np.ones(2))),
        _npz_of(_facts(schema=2), output=_npy(np.ones(2))),
        _npz_of(_facts(data_digest="short"), output=_npy(np.ones(2))),
        _npz_of(_facts(identity=[]), output=_npy(np.ones(2))),
        _npz_of(_facts(outputs=[1])),
        _npz_of(_facts(outputs={"a": 1})),
        _npz_of([1, 2]),
        _npz_of(None),
    ],
)
def test_what_is_no_golden_file_is_told(path: Path, content: bytes) -> None:
    path.parent.mkdir()
    path.write_bytes(content)
    with pytest.raises(GoldenError, match=r"can't be read as golden outputs.*--tvm-update"):
        read_golden(path)


def test_a_folder_in_its_place(path: Path) -> None:
    path.mkdir(parents=True)
    with pytest.raises(GoldenError, match="can't be read"):
        read_golden(path)
    with pytest.raises(StoreError, match="can't write"):
        write_golden(path, GOLDEN)


def test_a_good_file_made_by_hand(path: Path) -> None:
    path.parent.mkdir()
    path.write_bytes(_npz_of(_facts(), output=_npy(np.ones(2))))
    back = read_golden(path)
    assert back is not None
    assert back.outputs["output"].tolist() == [1.0, 1.0]
