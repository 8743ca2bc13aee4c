"""Golden outputs between items of one run: no compiling, outputs are given."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pytest_tvmtune.core.comparing.tolerances import ComparisonOptions
from pytest_tvmtune.core.errors import GoldenError
from pytest_tvmtune.stages.case import Case
from pytest_tvmtune.stages.comparing.comparing_golden import compare_with_golden, write_proposal
from pytest_tvmtune.stages.outcomes import GoldenOutcome
from tests.support.modules import OpenCase, Square

X, W = np.ones((2, 8), "float32"), np.ones((8, 8), "float32")
OUTPUTS = (X, (X + 1, np.array([3, 4])))
IDENTITY = {"path": "test_it.py", "function": "test_it"}


@pytest.fixture
def case(open_: OpenCase) -> Case:
    opened = open_(Square, params=[W], inputs=[X])
    # A file's time may be a little behind the clock; a session began seconds before it writes.
    early = replace(opened.run_context, started_s=opened.run_context.started_s - 10)
    case: Case = replace(opened, run_context=early)
    return case


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "tvmtune_golden" / "it.npz"


def check(
    case: Case, path: Path, got: Any = OUTPUTS, *, update: bool = True, **comparison: Any
) -> GoldenOutcome:
    return compare_with_golden(
        case, path, IDENTITY, got, ComparisonOptions(**comparison), update=update, update_new=True
    )


def write(case: Case, found: GoldenOutcome) -> bool:
    assert found.proposal is not None
    return write_proposal(case, found.proposal)


def make_old(path: Path) -> None:
    os.utime(path, (1e9, 1e9))


def test_items_that_start_together_write_once_and_must_agree(case: Case, path: Path) -> None:
    near = (X + np.float32(1e-6), (X + 1, np.array([3, 4])))
    far = (X, (X + 1, np.array([3, 5])))
    first, second, third, fourth = (check(case, path, one) for one in (OUTPUTS, near, far, X))
    assert {one.state for one in (first, second, third, fourth)} == {"new"}
    assert write(case, first)
    content = path.read_bytes()
    assert not write(case, second)
    with pytest.raises(
        GoldenError, match=r"another test item .* output\[1\]\[1\] int64\[2\]: 1 of"
    ):
        write(case, third)
    with pytest.raises(GoldenError, match=r"output\[1\]\[1\]: the model doesn't return the"):
        write(case, fourth)
    assert path.read_bytes() == content


def test_an_update_replaces_only_what_is_wrong_and_older_than_the_run(
    case: Case, path: Path
) -> None:
    write(case, check(case, path))
    far = (X + 1, OUTPUTS[1])
    assert check(case, path, far).proposal is None
    make_old(path)
    same = check(case, path)
    assert (same.state, same.proposal) == ("matched", None)
    assert check(case, path, far, atol=1.0).state == "matched"
    assert check(case, path, far, outputs={"output[0]": {"atol": 1.0}}).state == "matched"
    assert check(case, path, far, update=False).proposal is None
    wrong = check(case, path, far)
    assert (wrong.state, wrong.error is not None and wrong.error.passed) == ("differs", False)
    assert write(case, wrong)
    assert check(case, path, far).state == "matched"


def test_what_was_made_of_something_else_is_not_compared(
    case: Case, open_: OpenCase, path: Path
) -> None:
    write(case, check(case, path))
    make_old(path)
    others = {
        "other inputs or parameters": (open_(Square, params=[W], inputs=[X + 1]), OUTPUTS),
        "made with other inputs": (open_(Square, params=[W + 1], inputs=[X]), OUTPUTS),
    }
    for message, (other, outputs) in others.items():
        found = check(other, path, outputs, update=False)
        assert (found.state, found.error, found.proposal) == ("unusable", None, None)
        assert message in found.problem
        assert "--tvm-update" in found.problem
        assert check(other, path, outputs).proposal is not None
    found = compare_with_golden(
        case, path, {**IDENTITY, "function": "test_new"}, OUTPUTS, ComparisonOptions(),
        update=False,
        update_new=True,
    )  # fmt: skip
    assert "belongs to another test: function='test_it', path='test_it.py'" in found.problem


def test_another_interface_is_wrong_numbers_that_an_update_replaces(case: Case, path: Path) -> None:
    write(case, check(case, path))
    make_old(path)
    others = {
        "output[0]: the model doesn't return the expected output float32[2, 8]": X,
        "output[0] float16[2, 8]: the expected type is float32[2, 8]": (
            X.astype("float16"),
            OUTPUTS[1],
        ),
        "output[0] float32[1, 8]: the expected shape is float32[2, 8]": (X[:1], OUTPUTS[1]),
    }
    for message, outputs in others.items():
        found = check(case, path, outputs, update=False)
        assert (found.state, found.problem) == ("differs", "")
        assert found.error is not None
        assert not found.error.passed
        assert message in found.error.message.splitlines()
    assert check(case, path, X).proposal is not None
