"""Types of ml_dtypes: names, bits in plain files, made-up values."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest

from pytest_tvmtune.core.tensors.dtypes import FLOATS, dtype_of, from_plain, to_plain
from pytest_tvmtune.core.tensors.signature import TensorSpec, check_array, made_up


@pytest.mark.parametrize("name", ["bfloat16", "float8_e4m3fn", "float8_e5m2", "int4", "uint4"])
@pytest.mark.parametrize("shape", [(), (3, 0), (2, 3)])
def test_bits_survive_a_file(name: str, shape: tuple[int, ...], tmp_path: Path) -> None:
    array = np.asarray(np.arange(np.prod(shape)).reshape(shape), dtype_of(name))
    np.save(tmp_path / "a.npy", to_plain(array), allow_pickle=False)
    back = from_plain(np.load(tmp_path / "a.npy", allow_pickle=False), name)
    assert (back.dtype, back.shape) == (array.dtype, shape)
    assert np.array_equal(back, array)


def test_numpys_own_are_left_alone() -> None:
    for array in (np.ones(2), np.ones(2, bool), np.ones(2, ">f4"), np.asfortranarray(np.eye(2))):
        assert to_plain(array) is array
    assert from_plain(np.ones(2), "float64").dtype == np.float64
    nan = np.array([np.nan, -0.0], "bfloat16")
    assert from_plain(to_plain(nan), "bfloat16").tobytes() == nan.tobytes()


def test_bits_of_another_type_are_refused() -> None:
    for array, name in [(np.ones(2, "u1"), "bfloat16"), (np.ones(2, "f4"), "float64")]:
        with pytest.raises(ValueError, match="not"):
            from_plain(array, name)
    with pytest.raises(TypeError):
        from_plain(np.ones(2), "no_such_type")


def test_names_are_known_before_anybody_imported_ml_dtypes() -> None:
    code = "from pytest_tvmtune.core.tensors.dtypes import dtype_of; print(dtype_of('bfloat16'))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "bfloat16\n"


@pytest.mark.parametrize("name", FLOATS)
def test_floats_of_every_width_are_made_up_and_taken(name: str) -> None:
    spec = TensorSpec(name="x", shape=(64,), dtype=name)
    values = made_up(spec, np.random.default_rng(0))
    assert values.dtype.name == name
    assert len(np.unique(values.astype("float64"))) > 4
    assert check_array(TensorSpec(name="x", shape=(2,), dtype=name), [1.0, 0.5], "input")[1] == 0.5
    assert FLOATS[name] == (ml_dtypes.finfo(name).nmant, ml_dtypes.finfo(name).minexp)
