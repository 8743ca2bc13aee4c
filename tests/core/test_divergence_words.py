"""What is said of the first kernel that diverges."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from pytest_tvmtune.core.comparing.array_comparison import compare_arrays
from pytest_tvmtune.core.comparing.divergence import ArgumentStats, Divergence
from pytest_tvmtune.core.json_codec import from_json_values, to_json_values

WANT = np.array([1.0, 2.0, np.nan, np.inf], np.float32)


def output(*got: float) -> Any:
    return compare_arrays("output 0", np.array(got, np.float32), WANT)


def argument(error: float | None, *, agrees: bool | None = True) -> ArgumentStats:
    return ArgumentStats(
        index=0,
        dtype="float32",
        shape=(2,),
        minimum=0.0,
        maximum=1.0,
        mean=0.5,
        max_abs_error=error,
        agrees=agrees,
    )


FOUND = Divergence(
    kind="kernel",
    against="the other",
    kernel="matmul",
    other="matmul1",
    call=2,
    calls=10,
    compared=10,
    output=output(1.5, 2.0, np.nan, np.inf),
    arguments=(argument(None, agrees=None), argument(0.0)),
)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({}, "diverges from the other: the entry calls no kernel"),
        (
            {"calls": 5},
            "could be compared with the other: the kernel calls of the two builds differ",
        ),
        (
            {"calls": 5, "compared": 5},
            "diverges from the other: all kernels agree within the tolerance",
        ),
        (
            {"calls": 5, "compared": 5, "kernel": "relu"},
            "diverges from the other: all kernels agree within the tolerance (relu differs most)",
        ),
        (
            {"calls": 5, "compared": 3},
            (
                "diverges from the other: 3 of 5 calls could be compared and agree within the "
                "tolerance"
            ),
        ),
    ],
)
def test_no_kernel(changes: dict[str, Any], said: str) -> None:
    assert Divergence(kind="none", against="the other", **changes).sentence() == (
        f"no kernel {said}"
    )


def test_a_wrong_transform() -> None:
    found = replace(FOUND, kind="transform", cause="parameter 1 was not transformed")
    assert found.sentence() == (
        "wrong parameter after the transform: parameter 1 was not transformed "
        "(first used by matmul)"
    )


def test_a_kernel() -> None:
    assert FOUND.sentence() == (
        "first diverging kernel: matmul (untuned), call 3 of 10: 1 of 4 values of its output 0 "
        "differs by up to 0.5; its inputs are equal"
    )
    tuned = replace(FOUND, record="0123456789abcdef" * 4)
    assert (FOUND.tuned, tuned.tuned) == (False, True)
    assert "matmul (tuned, record 0123456789ab), call" in tuned.sentence()


@pytest.mark.parametrize(
    ("got", "said"),
    [
        ((np.nan, 2.0, np.nan, np.inf), "1 of 4 values of its output 0 differs (1 NaN); "),
        ((np.inf, -np.inf, np.nan, np.inf), "differ (2 Inf); "),
        ((1.0, 2.0, 0.0, np.inf), "differs (1 missing NaN); "),
        ((9.0, np.nan, 0.0, 0.0), "differ (1 NaN, 1 missing NaN, 1 missing Inf); "),
    ],
)
def test_nan_and_inf_are_told_instead_of_an_infinite_error(
    got: tuple[float, ...], said: str
) -> None:
    assert said in replace(FOUND, output=output(*got)).sentence()


def test_an_output_whose_error_is_unknown() -> None:
    bare = replace(output(1.5, 2.0, np.nan, np.inf), worst_abs=None)
    assert "output 0 differs; its inputs are equal" in replace(FOUND, output=bare).sentence()


@pytest.mark.parametrize(
    ("arguments", "error", "said"),
    [
        ((), None, "its inputs can't be compared"),
        ((argument(None, agrees=None),), None, "its inputs can't be compared"),
        ((argument(0.0), argument(0.0)), 0.0, "its inputs are equal"),
        (
            (argument(1e-6), argument(1e-5)),
            1e-5,
            "its inputs differ by up to 1e-05, within the tolerance",
        ),
        (
            (argument(1e-6), argument(0.25, agrees=False)),
            0.25,
            "so the fault may be in an earlier kernel without a counterpart",
        ),
    ],
)
def test_its_inputs(arguments: tuple[ArgumentStats, ...], error: float | None, said: str) -> None:
    found = replace(FOUND, arguments=arguments)
    assert found.input_error == error
    assert found.sentence().endswith(said)
    assert ("its inputs already differ by up to 0.25, " in found.sentence()) == (error == 0.25)


@pytest.mark.parametrize("found", [FOUND, Divergence(kind="none", against="it")])
def test_a_divergence_survives_json_text(found: Divergence) -> None:
    assert from_json_values(json.loads(json.dumps(to_json_values(found))), Divergence) == found
