"""The sidecar of a model file: what it may say, and what is told of what it may not."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest

from pytest_tvmtune.core.errors import OptionError
from pytest_tvmtune.core.settings.sidecar import Sidecar, parse_sidecar
from pytest_tvmtune.core.settings.target_spec import parse_target

FOLDER = Path("models")


def test_an_empty_one_says_nothing() -> None:
    assert parse_sidecar("", FOLDER) == Sidecar()


def test_everything_it_may_say() -> None:
    said = parse_sidecar(
        """
        target = ["llvm", {kind = "llvm", mcpu = "znver4"}]
        trials = 8
        prepack = "both"
        work_dir = "records"
        rtol = 1e-3
        expected = "onnxruntime"
        marks = ["slow", "nightly"]
        skip = "needs a GPU"
        xfail = "see issue 7"
        [shapes]
        "x/in" = [1, 3, 224, 224]
        scalar = []
        [inputs]
        "x/in" = "data/x.npy"
        mask = [[true, false], [1, 2.5]]
        length = 3
        """,
        FOLDER,
    )
    targets = (parse_target("llvm"), parse_target('{"kind": "llvm", "mcpu": "znver4"}'))
    options = dict(said.options)
    assert [one.config for one in options.pop("target")] == [one.config for one in targets]
    assert replace(said, options=options) == Sidecar(
        options={"trials": 8, "prepack": "both", "work_dir": FOLDER / "records", "rtol": 1e-3},
        shapes={"x/in": (1, 3, 224, 224), "scalar": ()},
        inputs={
            "x/in": FOLDER / "data/x.npy",
            "mask": [[True, False], [1, 2.5]],
            "length": 3,
        },
        expected="onnxruntime",
        marks=("slow", "nightly"),
        skip="needs a GPU",
        xfail="see issue 7",
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("trials = ", "malformed TOML: Invalid value (at "),
        ("trails = 8", "unknown key 'trails'; accepted are target, trials, "),
        ("trails = 8", "shapes, inputs, expected, marks, skip, xfail; did you mean 'trials'?"),
        ("[input]\nx = 1", "unknown key 'input'; accepted are "),
        ("[input]\nx = 1", "did you mean 'inputs'?"),
        ("strict = true", "unknown key 'strict'"),
        ("trials = 'few'", "trials: 'few' is not a whole number"),
        ("threshold = 0.03", "threshold: 0.03 is not a positive percentage"),
        ("seed = 2024-01-01", "seed: datetime.date(2024, 1, 1) is not a whole number"),
        ("shapes = [1, 3]", "shapes: [1, 3] is not a table; give lists of sizes by input name"),
        ("[shapes]", "shapes: {} is not a table"),
        ("[shapes]\nx = 1", "shapes.x: 1 is not a list of positive whole numbers, such as [1, 3"),
        ("[shapes]\nx = [1, 0]", "shapes.x: [1, 0] is not a list"),
        ("[shapes]\nx = [1, true]", "shapes.x: [1, True] is not a list"),
        ("inputs = 'x.npy'", "inputs: 'x.npy' is not a table; give numbers, lists, or paths by"),
        (
            "[inputs]\nx = 'x.csv'",
            "inputs.x: 'x.csv' is not a number, a list of numbers, or the path",
        ),
        ("[inputs]\nx = 'x.csv'", "the path of a file (.npy, .npz, .pb)"),
        ("[inputs]\nx = [1, 'x.npy']", "inputs.x: [1, 'x.npy'] is not a number"),
        ("[inputs]\nx = {y = 1}", "inputs.x: {'y': 1} is not a number"),
        ("expected = 'torch'", "expected: 'torch' is not one of test_data_set, onnxruntime, un"),
        ("expected = 1", "expected: 1 is not one of"),
        ("expected = ['untuned']", "expected: ['untuned'] is not one of"),
        (
            "expected = 'test_data_set'\n[inputs]\nx = 1",
            "expected: 'test_data_set' has its own inputs",
        ),
        ("marks = ['slow one']", "marks: 'slow one' is not the name of a mark; give a list"),
        ("marks = [1]", "marks: 1 is not the name of a mark"),
        ("marks = ['skipif']", "marks: 'skipif' needs arguments or has no effect"),
        ("skip = true", 'skip: True is not a reason; give text: skip = "why"'),
        ("xfail = ' '", "xfail: ' ' is not a reason"),
    ],
)
def test_what_it_may_not_say(text: str, message: str) -> None:
    with pytest.raises(OptionError, match=re.escape(message)):
        parse_sidecar(text, FOLDER)


def test_one_mark_needs_no_list() -> None:
    assert parse_sidecar("marks = 'slow'", FOLDER).marks == ("slow",)
