"""What users hand to a model, by name or in order, checked against what it takes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from pytest_tvmtune.core.errors import ModelError
from pytest_tvmtune.core.tensors.signature import (
    Signature,
    TensorSpec,
    as_numpy,
    bind_arrays,
    made_up,
    normalise_name,
)

A = np.ones((2, 3), "float32")
B = np.full((4,), 7, "int64")
SPECS = [
    TensorSpec(name="encoder_0_weight", shape=(2, 3), dtype="float32"),
    TensorSpec(name="bias", shape=(4,), dtype="int64"),
]


def one(shape: tuple[int, ...], dtype: str, value: object) -> np.ndarray:
    (array,) = bind_arrays([TensorSpec(name="x", shape=shape, dtype=dtype)], [value], "input")
    return array


def failure(given: Any, specs: list[TensorSpec] = SPECS, what: str = "parameter") -> str:
    with pytest.raises(ModelError) as caught:
        bind_arrays(specs, given, what)
    return str(caught.value)


@pytest.mark.parametrize(
    "name", ["encoder_0_weight", "encoder.0.weight", "encoder/0/weight", "encoder:0-weight"]
)
def test_names_are_compared_as_relax_writes_them(name: str) -> None:
    first, second = bind_arrays(SPECS, {"bias": B, name: A}, "parameter")
    assert first is A
    assert second is B


def test_relax_names() -> None:
    assert normalise_name("a.b/c:d-e_f 1") == "a_b_c_d_e_f_1"


def test_in_order() -> None:
    first, second = bind_arrays(SPECS, (A, B), "input")
    assert first is A
    assert second is B
    assert bind_arrays([], [], "input") == []
    assert bind_arrays([], {}, "input") == []


def test_missing() -> None:
    assert failure({"bias": B}) == "missing parameter: encoder_0_weight: float32[2, 3]"
    assert failure([A]) == (
        "too few parameters: 1 given, but the model takes 2 (encoder_0_weight: float32[2, 3], "
        "bias: int64[4])"
    )


def test_surplus() -> None:
    assert failure([A, B, A]).startswith("too many parameters: 3 given, but the model takes 2 (")
    assert failure([A], [], "input") == "too many inputs: 1 given, but the model takes 0 (none)"


def test_unknown() -> None:
    message = failure({"encoder_0_weight": A, "bias": B, "gamma": B})
    assert message.startswith("unknown parameter 'gamma'; the model takes encoder_0_weight: float")


def test_a_long_list_is_cut() -> None:
    many = [TensorSpec(name=f"p{i}", shape=(), dtype="int32") for i in range(9)]
    message = failure([], many)
    assert "p7: int32[]" in message
    assert "p8" not in message
    assert message.endswith(", ...)")


def test_one_tensor_under_two_spellings() -> None:
    message = failure({"encoder.0.weight": A, "encoder_0_weight": A, "bias": B})
    assert (
        message
        == "parameter 'encoder_0_weight' is given twice, with two spellings; remove one of them"
    )


def test_a_wrong_shape() -> None:
    assert failure([np.ones((2, 4), "float32"), B]) == (
        "parameter 'encoder_0_weight' has shape (2, 4), but the model takes (2, 3)"
    )


def test_a_transposed_array_gets_a_hint() -> None:
    assert "it looks transposed" in failure([A.T, B])


def test_a_vector_is_never_called_transposed() -> None:
    spec = TensorSpec(name="v", shape=(3,), dtype="float32")
    assert "transposed" not in failure([np.ones(4, "float32")], [spec])


@pytest.mark.parametrize("dtype", ["float64", "float16", "int32", "bool"])
def test_arrays_are_not_cast_silently(dtype: str) -> None:
    message = failure([A.astype(dtype), B])
    assert message == (
        f"parameter 'encoder_0_weight' has dtype {dtype}, but the model takes float32; "
        "convert it with array.astype('float32')"
    )


@pytest.mark.parametrize(
    ("dtype", "value"),
    [("float32", 1.5), ("float32", 2), ("int64", 3), ("bool", True), ("float16", False)],
)
def test_python_scalars_take_the_wanted_dtype(dtype: str, value: object) -> None:
    array = one((), dtype, value)
    assert (array.shape, array.dtype.name, array.item()) == ((), dtype, value)


def test_rank_0_arrays_and_numpy_scalars() -> None:
    assert one((), "float32", np.float32(2.5)).item() == 2.5
    assert one((), "float32", np.array(2.5, "float32")).item() == 2.5
    assert "has shape (1,), but the model takes ()" in failure(
        [np.ones(1, "float32")], [TensorSpec(name="s", shape=(), dtype="float32")]
    )
    assert "has dtype float16" in failure(
        [np.float16(2.5)], [TensorSpec(name="s", shape=(), dtype="float32")]
    )


def test_lists_and_empty_lists() -> None:
    np.testing.assert_array_equal(one((2, 2), "int32", [[1, 2], [3, 4]]), [[1, 2], [3, 4]])
    assert one((0,), "float32", []).shape == (0,)


def test_bool_and_int_arrays() -> None:
    assert one((2,), "bool", np.array([True, False])).dtype == bool
    for dtype in ("int8", "uint8", "int32", "uint64"):
        assert one((1,), dtype, np.array([1], dtype)).dtype.name == dtype
    assert "has dtype int64" in failure(
        [np.array([1, 0])], [TensorSpec(name="m", shape=(2,), dtype="bool")]
    )


@pytest.mark.parametrize(
    ("dtype", "value"),
    [("float32", [[1.0], [2.0, 3.0]]), ("int32", ["a"]), ("int8", [300]), ("uint8", [-1])],
)
def test_lists_that_make_no_such_array(dtype: str, value: object) -> None:
    message = failure([value], [TensorSpec(name="x", shape=(1,), dtype=dtype)], "input")
    assert message.startswith(f"input x: {dtype}[1] can't be made from [")


@pytest.mark.parametrize("value", [1.7, [1.7]])
def test_fractions_are_not_cut_off_for_an_integer_tensor(value: Any) -> None:
    spec = TensorSpec(name="x", shape=np.shape(value), dtype="int32")
    assert "1.7" in failure([value], [spec])


@pytest.mark.parametrize("value", [object(), "text", {1: 2}])
def test_what_is_no_array(value: object) -> None:
    spec = TensorSpec(name="x", shape=(), dtype="float32")
    assert f"{type(value).__name__} is not an array" in failure([value], [spec])


class HasNumpy:
    """As a tvm Tensor."""

    def numpy(self) -> np.ndarray:
        return A


class NeedsDetach:
    """As a torch tensor that requires a gradient: `numpy()` alone is refused."""

    detached = False

    def detach(self) -> NeedsDetach:
        other = NeedsDetach()
        other.detached = True
        return other

    def cpu(self) -> NeedsDetach:
        return self

    def numpy(self) -> np.ndarray:
        assert self.detached, "Can't call numpy() on Tensor that requires grad"
        return A


class HasArray:
    def __array__(self, dtype: object = None, copy: object = None) -> np.ndarray:
        return A


class HasDlpack:
    def __dlpack__(self, **how: Any) -> Any:
        return A.__dlpack__(**how)

    def __dlpack_device__(self) -> Any:
        return A.__dlpack_device__()


@pytest.mark.parametrize("kind", [HasNumpy, NeedsDetach, HasArray, HasDlpack])
def test_arrays_of_other_libraries(kind: type) -> None:
    np.testing.assert_array_equal(as_numpy(kind()), A)
    assert as_numpy(kind()).dtype == np.float32


def test_made_up_values_are_seeded_and_valid_for_their_dtype() -> None:
    floats = TensorSpec(name="w", shape=(2000,), dtype="float16")
    array = made_up(floats, np.random.default_rng(1), scale=0.5)
    assert (array.shape, array.dtype.name) == ((2000,), "float16")
    assert 0.45 < float(array.astype("float64").std()) < 0.55
    np.testing.assert_array_equal(array, made_up(floats, np.random.default_rng(1), scale=0.5))
    assert not np.array_equal(array, made_up(floats, np.random.default_rng(2), scale=0.5))
    for dtype in ("int64", "uint8", "bool"):
        spec = TensorSpec(name="i", shape=(50,), dtype=dtype)
        whole = made_up(spec, np.random.default_rng(1))
        assert whole.dtype.name == dtype
        assert set(whole.tolist()) == {0, 1}


def test_a_signature_as_json() -> None:
    signature = Signature(entry="main", inputs=(SPECS[1],), params=(SPECS[0],), lifts_params=True)
    assert signature.to_json() == {
        "entry": "main",
        "inputs": [["bias", [4], "int64"]],
        "params": [["encoder_0_weight", [2, 3], "float32"]],
        "lifts_params": True,
    }
    assert Signature.of_json(signature.to_json()) == signature


def test_names_that_only_differ_in_spelling_are_told_apart_when_given_exactly() -> None:
    specs = [TensorSpec(name=name, shape=(), dtype="int32") for name in ("a.b", "a_b")]
    bound = bind_arrays(specs, {"a_b": 2, "a.b": 1}, "input")
    assert [int(array) for array in bound] == [1, 2]


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "int8", "uint8", "bool"])
def test_small_types_are_made_up_and_taken(dtype: str) -> None:
    spec = TensorSpec(name="x", shape=(3, 50), dtype=dtype)
    array = made_up(spec, np.random.default_rng(0))
    assert (array.dtype.name, array.shape) == (dtype, (3, 50))
    assert (np.abs(array.astype("float64")) <= 6).all()
    # Floats are normally distributed, whole numbers 0 or 1.
    assert (len(set(array.ravel().tolist())) > 2) == ("float" in dtype)
    assert one((3, 50), dtype, array) is array
    assert one((2,), dtype, [1, 0]).tolist() == [1, 0]


def test_bfloat16_of_torch_shares_its_memory() -> None:
    import torch

    tensor = torch.tensor([[1.5, -2.0], [0.0, 3.0]], dtype=torch.bfloat16, requires_grad=True)
    array = as_numpy(tensor)
    assert array.dtype.name == "bfloat16"
    assert array.tolist() == [[1.5, -2.0], [0.0, 3.0]]
    with torch.no_grad():
        tensor[0, 0] = 8
    assert array[0, 0] == 8
    assert as_numpy(torch.tensor(1.5, dtype=torch.bfloat16)).shape == ()
