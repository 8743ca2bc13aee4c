"""Numeric comparison: tolerances by dtype, exact integers, NaN, structure, messages."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from pytest_tvmtune.core.comparing.outputs_comparison import compare, compare_all
from pytest_tvmtune.core.comparing.tolerances import TOLERANCES, Tolerance
from pytest_tvmtune.core.errors import ModelError
from pytest_tvmtune.core.results.comparison_result import ErrorResult

# A comparison of the worst numbers must not warn either.
pytestmark = pytest.mark.filterwarnings("error")
F32 = np.float32


def check(
    actual: Any, expected: Any, rtol: float | None = None, atol: float | None = None, **how: Any
) -> ErrorResult:
    tolerance = Tolerance(rtol=rtol, atol=atol)
    return compare(actual, expected, against="reference", tolerance=tolerance, **how)


def test_equal_outputs() -> None:
    result = check(np.arange(4, dtype=F32), np.arange(4, dtype=F32))
    assert result.passed
    assert (result.max_abs_error, result.max_rel_error, result.message) == (0.0, 0.0, "")
    (output,) = result.outputs
    assert (output.path, output.shape, output.size) == ("output", (4,), 4)
    assert (output.worst_abs, output.worst_rel, output.worst_ulp, output.worst) == (
        None, None, None, ()
    )  # fmt: skip


@pytest.mark.parametrize("dtype", ["float64", "float32", "float16"])
def test_the_tolerance_of_a_dtype_holds_on_both_sides_of_its_edge(dtype: str) -> None:
    rtol, atol = TOLERANCES[dtype]
    want = np.array([2.0], dtype)
    bound = atol + rtol * 2.0
    inside = (want.astype("float64") + 0.8 * bound).astype(dtype)
    outside = (want.astype("float64") + 1.3 * bound).astype(dtype)
    assert check(inside, want).passed
    assert not check(outside, want).passed
    assert inside != want


def test_own_tolerances_are_inclusive_and_relative_to_the_expected() -> None:
    want = np.array([4.0])
    assert check(np.array([5.0]), want, rtol=0.25, atol=0.0).passed
    assert check(np.array([5.0]), want, rtol=0.0, atol=1.0).passed
    assert check(np.array([5.5]), want, rtol=0.25, atol=0.5).passed
    assert not check(np.array([5.0]), want, rtol=0.2499, atol=0.0).passed
    # |5 - 4| <= 0.25 * 4 but not the other way about: 0.2 * 5 = 1, 0.2 * 4 < 1.
    assert check(np.array([4.0]), np.array([5.0]), rtol=0.2, atol=0.0).passed
    assert not check(np.array([5.0]), np.array([4.0]), rtol=0.2, atol=0.0).passed


def test_one_given_tolerance_leaves_the_other_at_its_default() -> None:
    want = np.zeros(1, F32)
    assert check(want + F32(0.9e-5), want, rtol=0.0).passed
    assert not check(want + F32(1.1e-5), want, rtol=1.0).passed


def test_errors_are_the_largest_over_all_outputs() -> None:
    result = check(
        (np.array([1.0, 3.0]), np.array([10.0])), (np.array([1.0, 2.0]), np.array([8.0]))
    )
    assert (result.max_abs_error, result.max_rel_error) == (2.0, 0.5)


def test_nan_at_the_same_place_agrees() -> None:
    got = np.array([np.nan, 1.0], F32)
    assert check(got, got.copy()).passed
    assert check(got, got.copy()).max_abs_error == 0.0


@pytest.mark.parametrize(
    ("got", "want"),
    [(np.nan, 1.0), (1.0, np.nan), (np.inf, 1.0), (1.0, np.inf), (np.inf, -np.inf),
     (np.nan, np.inf), (np.inf, np.nan), (np.nan, 0.0), (0.0, np.inf)],
)  # fmt: skip
@pytest.mark.parametrize("tolerance", [None, 0.5])
def test_nan_and_infinity_against_anything_else_fail(
    got: float, want: float, tolerance: float | None
) -> None:
    result = check(np.array([got], F32), np.array([want], F32), rtol=tolerance, atol=tolerance)
    assert not result.passed
    assert result.max_abs_error == math.inf
    assert result.max_rel_error == math.inf
    assert "1 of 1 value differs" in result.message


def test_equal_infinities_agree() -> None:
    got = np.array([np.inf, -np.inf])
    assert check(got, got.copy()).passed


def test_new_nan_and_inf_are_counted_in_the_message() -> None:
    got = np.array([np.nan, np.nan, np.inf, np.nan])
    want = np.array([1.0, 2.0, 3.0, np.nan])
    message = check(got, want).message
    assert "3 of 4 values differ (75.0 %, 2 unexpected NaN, 1 unexpected Inf)" in message
    message = check(want, got).message
    assert "3 of 4 values differ (75.0 %, 2 missing NaN, 1 missing Inf)" in message


@pytest.mark.parametrize("dtype", ["int8", "uint8", "int32", "int64", "uint64"])
def test_integers_are_exact(dtype: str) -> None:
    want = np.array([5, 100], dtype)
    assert check(want.copy(), want).passed
    result = check(np.array([5, 101], dtype), want)
    assert not result.passed
    assert result.max_abs_error == 1.0
    assert check(np.array([5, 101], dtype), want, atol=1).passed


@pytest.mark.parametrize(
    ("dtype", "big"),
    [("int64", 2**53), ("int64", -(2**53) - 1), ("int64", 2**63 - 2), ("uint64", 2**64 - 2)],
)
def test_integers_beyond_what_a_double_holds(dtype: str, big: int) -> None:
    want, got = np.array([big], dtype), np.array([big + 1], dtype)
    assert check(want, want.copy()).passed
    result = check(got, want)
    assert not result.passed
    assert result.max_abs_error == 1.0
    assert f"got {big + 1}, expected {big}" in result.message


def test_unsigned_differences_do_not_wrap() -> None:
    assert check(np.array([0], "uint8"), np.array([255], "uint8")).max_abs_error == 255.0


def test_bools_are_exact() -> None:
    want = np.array([True, False])
    assert check(want.copy(), want).passed
    result = check(np.array([True, True]), want)
    assert not result.passed
    assert "at [1]: got True, expected False" in result.message


def test_nested_outputs_and_the_path_to_the_wrong_one() -> None:
    one, two, three = (np.array([float(i)]) for i in range(3))
    actual = (one, (two, three))
    assert check(actual, [one, [two, three]]).passed
    result = check(actual, (one, (two, three + 1)))
    assert not result.passed
    assert result.message.startswith("output[1][1] float64[1]: 1 of 1 value differs")
    both = check(actual, (one + 1, (two, three + 1))).message
    assert "output[0] " in both
    assert "\noutput[1][1] " in both


def test_plain_numbers_stand_for_an_array() -> None:
    assert check(np.array([[1, 2], [3, 4]]), [[1, 2], [3, 4]]).passed
    assert not check(np.array([1.0, 2.0], F32), (1.0, 2.5)).passed
    assert check((np.array([1, 2]), np.array([3])), ([1, 2], [3])).passed


ONE, TWO = np.ones(1, F32), np.ones(2, F32)


@pytest.mark.parametrize(
    ("actual", "expected", "told"),
    [
        (
            (ONE,),
            (ONE, TWO),
            "output[1]: the model doesn't return the expected output float32[2]",
        ),
        (
            (ONE, TWO),
            (ONE,),
            "output[1] float32[2]: the model returns this output, but it isn't expected",
        ),
        (
            (ONE, TWO),
            TWO,
            (
                "output[0] float32[1]: the model returns this output, but it isn't expected\n"
                "output[1] float32[2]: the model returns this output, but it isn't expected\n"
                "output: the model doesn't return the expected output float32[2]"
            ),
        ),
        (
            ONE,
            (TWO, ONE),
            (
                "output float32[1]: the model returns this output, but it isn't expected\n"
                "output[0]: the model doesn't return the expected output float32[2]\n"
                "output[1]: the model doesn't return the expected output float32[1]"
            ),
        ),
        (
            np.ones((2, 3), F32),
            np.ones((3, 2)),
            "output float32[2, 3]: the expected shape is float64[3, 2]",
        ),
        (np.ones(3, F32), 1.0, "output float32[3]: the expected shape is float64[]"),
        (
            (ONE, ONE),
            {"output[1]": TWO},
            "output[1] float32[1]: the expected shape is float32[2]",
        ),
    ],
)
def test_another_shape_or_structure_is_a_finding(actual: Any, expected: Any, told: str) -> None:
    result = check(actual, expected)
    assert (result.passed, result.message) == (False, told)
    assert result.max_abs_error == result.max_rel_error == math.inf
    wrong = [one for one in result.outputs if not one.passed]
    assert all(one.problem and not one.mismatches for one in wrong)


def test_what_is_compared_beside_another_shape() -> None:
    result = check((ONE, ONE + 1), (TWO, ONE), names=("logits", "loss"))
    assert [one.problem for one in result.outputs] == ["shape", ""]
    assert (result.outputs[0].shape, result.outputs[0].shape_expected) == ((1,), (2,))
    assert result.message.startswith(
        "logits (output[0]) float32[1]: the expected shape is float32[2]\n"
        "loss (output[1]) float32[1]: 1 of 1 value differs"
    )


@pytest.mark.parametrize(
    ("actual", "expected", "message"),
    [
        (ONE, ["a"], "expected is a list of length 1, but the model returns one array"),
        (
            ONE,
            [[1.0], [1.0, 2.0]],
            "expected is a list of length 2, but the model returns one",
        ),
        (ONE, None, "NoneType is not an array"),
        ((ONE, ONE), (ONE, "a"), "str is not an array"),
        ((ONE, ONE), "a", "str is not an array"),
    ],
)
def test_what_is_no_array_is_the_callers_mistake(actual: Any, expected: Any, message: str) -> None:
    with pytest.raises(ModelError, match=message):
        check(actual, expected)


@pytest.mark.parametrize(
    ("dtype", "expected", "kinds", "names"),
    [("float32", "float64", "", "dtype"), ("int32", "int64", "", "dtype"),
     ("float32", "int64", "dtype", "dtype"), ("bool", "uint8", "dtype", "dtype"),
     ("float32", "float32", "", "")],
)  # fmt: skip
def test_dtypes_count_against_references_and_goldens(
    dtype: str, expected: str, kinds: str, names: str
) -> None:
    got, want = np.ones(2, dtype), np.ones(2, expected)
    assert check(got, want).passed
    assert check(got, want, dtypes="kinds").outputs[0].problem == kinds
    result = check(got, want, dtypes="names")
    assert result.outputs[0].problem == names
    assert result.message == (
        f"output {dtype}[2]: the expected type is {expected}[2]" if names else ""
    )


def test_a_reference_of_no_real_numbers_is_told() -> None:
    result = check(ONE, np.ones(1, complex), dtypes="kinds")
    assert result.message == "output float32[1]: the expected type is complex128[1]"


def test_all_outputs_by_path() -> None:
    stored = {"output[0]": ONE, "output[2]": TWO}
    result = compare_all((ONE, TWO), stored, against="golden")
    assert [(one.path, one.problem) for one in result.outputs] == [
        ("output[0]", ""), ("output[1]", "surplus"), ("output[2]", "missing")
    ]  # fmt: skip
    assert compare_all((ONE, TWO), {"output[0]": ONE, "output[1]": TWO}, against="golden").passed


@pytest.mark.parametrize("shape", [(0,), (3, 0)])
def test_empty_arrays_agree(shape: tuple[int, ...]) -> None:
    assert check(np.ones(shape, F32), np.ones(shape, F32)).passed
    assert check(np.ones(shape, F32), np.ones(1, F32)).outputs[0].problem == "shape"


def test_rank_0() -> None:
    assert check(np.array(2.0), np.float64(2.0)).passed
    assert "output float64[]: 1 of 1 value differs" in check(np.array(2.0), np.array(3.0)).message


def test_the_message_says_where_and_by_how_much() -> None:
    want = np.ones((2, 3), F32)
    got = want.copy()
    got[1, 2] = 3.0
    assert check(got, want).message == (
        "output float32[2, 3]: 1 of 6 values differs (16.7 %)\n"
        "  max abs error 2, max rel error 2, max ULP error 1.68e+07 at [1, 2]: "
        "got 3.0, expected 1.0\n"
        "  tolerance: atol=1e-05, rtol=0.0001"
    )


def test_the_message_keeps_several_kinds_of_worst_apart() -> None:
    want = np.array([1000.0, 1.0, 0.001, 5.0, 5.0], F32)
    got = np.array([1002.0, 1.5, 0.002, 5.0, 5.1], F32)
    assert check(got, want).message == (
        "output float32[5]: 4 of 5 values differ (80.0 %)\n"
        "  max abs error 2 at [0]: got 1002.0, expected 1000.0\n"
        "  max rel error 1, max ULP error 8.59e+06 at [2]: got 0.002, expected 0.001\n"
        "  furthest beyond the tolerance: [0] got 1002.0, expected 1000.0; [1] got 1.5, expected "
        "1.0; [4] got 5.1, expected 5.0\n"
        "  tolerance: atol=1e-05, rtol=0.0001"
    )


def test_a_model_with_many_wrong_outputs_does_not_flood_the_terminal() -> None:
    got = tuple(np.array([float(i)]) for i in range(1, 9))
    result = check(got, tuple(-one for one in got))
    assert result.message.count("1 of 1 value differs") == 5
    assert result.message.endswith("\nand 3 more outputs; the JSON report has all outputs")
    assert len(result.outputs) == 8


def test_the_worst_ones_shown_are_wrong() -> None:
    # The first differs more, but within its relative tolerance.
    got, want = np.array([1e6 + 50, 1.5], F32), np.array([1e6, 1.0], F32)
    (output,) = check(got, want).outputs
    assert output.mismatches == 1
    assert output.worst_abs is not None
    assert (output.worst_abs.index, output.worst_abs.error) == ((0,), 50.0)
    (worst,) = output.worst
    assert (worst.index, worst.got, worst.expected, worst.error) == ((1,), "1.5", "1.0", 0.5)


def test_some_outputs_by_path_or_by_the_sources_name() -> None:
    got = (np.ones(2), (np.zeros(3), np.array([7])))
    assert check(got, {"output[1][1]": 7 * np.ones(1, "int64")}).passed
    result = check(got, {"logits": [1.0, 2.0]}, names=("logits", "b", "c"))
    assert [one.path for one in result.outputs] == ["output[0]"]
    assert not result.passed
    wrong: list[tuple[dict[str, Any], str]] = [
        ({"output[3]": 1}, r"has 'output\[3\]', but the model's outputs are output\[0\], o"),
        ({}, "an empty dict"),
        ({"b": np.zeros(3), "output[1][0]": np.zeros(3)}, r"output\[1\]\[0\]' twice"),
    ]
    for expected, message in wrong:
        with pytest.raises(ModelError, match=message):
            check(got, expected, names=("a", "b", "c") if "b" in expected else ())


def test_an_output_may_have_a_tolerance_of_its_own() -> None:
    got, want = (np.array([1.0, 9.0]), np.array([1.0, 9.0])), (np.array([1.5, 9.0]),) * 2
    result = check(got, want, rtol=0.5, outputs={"output[1]": {"rtol": 0.1}})
    assert [one.passed for one in result.outputs] == [True, False]
    # What it leaves open comes from the call, then from the dtype.
    assert [(one.rtol, one.atol) for one in result.outputs] == [(0.5, 1e-11), (0.1, 1e-11)]
    own = Tolerance(atol=1.0, statistic="max")
    assert check(got, want, rtol=0.0, outputs={"a": own, "b": own}, names=("a", "b")).passed
    for outputs, message in [
        ({"output[2]": own}, r"outputs has 'output\[2\]', but the model's outputs are output\[0\]"),
        ({"output[0]": 0.1}, r"outputs\['output\[0\]'\] is 0.1; give a Tolerance, or a dict"),
        ({"output[0]": {"tol": 0.1}}, "give a Tolerance, or a dict with rtol, atol, and statistic"),
        (
            {"output[0]": {"rtol": -1}},
            r"outputs\['output\[0\]'\]: rtol=-1 is not a finite number",
        ),
    ]:
        with pytest.raises(ModelError, match=message):
            check(got, want, outputs=outputs)


def test_bfloat16_has_its_tolerance() -> None:
    ml_dtypes = pytest.importorskip("ml_dtypes")
    want = np.array([1.0], ml_dtypes.bfloat16)
    assert check(np.array([1.0 + 2**-7], ml_dtypes.bfloat16), want).passed
    assert not check(np.array([1.0 + 2**-4], ml_dtypes.bfloat16), want).passed
