"""Properties of values as users write them: each is read back, all else is refused by its name."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from pytest_tvmtune.core.errors import OptionError
from pytest_tvmtune.core.settings.dimension_sizes import MAX_SIZE, parse_dims
from pytest_tvmtune.core.settings.quantities import (
    parse_count,
    parse_seconds,
    parse_share,
    parse_threshold,
    parse_tolerance,
)
from pytest_tvmtune.core.settings.sidecar import REFERENCES, parse_sidecar
from pytest_tvmtune.core.settings.target_spec import parse_target

COUNTS = st.integers(0, 10**6)
SPACES = st.sampled_from(["", " ", "\t", "  "])
UNITS_S = {"": 1.0, "s": 1.0, "ms": 1e-3, "us": 1e-6}
# As a decimal, without an exponent.
POSITIVE = st.decimals("0.001", "99999", places=3).map(str)
NAMES = st.text(min_size=1).filter(lambda name: bool(name.strip()))
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)
KEYS = st.from_regex(r"[a-z][a-z-]{0,8}", fullmatch=True).filter(
    lambda key: key not in {"kind", "tag", "keys", "libs", "mattr", "host", "num-cores"}
)
WORDS = st.from_regex(r"[a-z][a-z0-9.+]{0,8}", fullmatch=True).filter(
    lambda word: word not in {"true", "false"}
)
CONFIGS = st.builds(
    lambda kind, more: {"kind": kind, **more},
    st.sampled_from(["llvm", "c", "cuda"]),
    st.dictionaries(KEYS, st.booleans() | st.integers(0, 999) | WORDS, max_size=4),
)


@given(count=COUNTS, before=SPACES, after=SPACES, plus=st.sampled_from(["", "+"]))
def test_a_count_is_read_back(count: int, before: str, after: str, plus: str) -> None:
    assert parse_count(f"{before}{plus}{count}{after}", "n", minimum=0) == count


@given(number=POSITIVE, unit=st.sampled_from([*UNITS_S]), space=SPACES)
def test_a_duration_is_read_back(number: str, unit: str, space: str) -> None:
    seconds = parse_seconds(f"{space}{number}{space}{unit}", "t")
    assert seconds == pytest.approx(float(number) * UNITS_S[unit])
    assert parse_seconds(seconds, "t") == seconds


@given(percent=st.decimals("0.001", "1000", places=3).map(str), space=SPACES)
def test_a_percentage_is_a_share_and_a_threshold(percent: str, space: str) -> None:
    share = parse_share(f"{percent}{space}%", "s")
    assert share == pytest.approx(float(percent) / 100)
    threshold = parse_threshold(f"{percent}{space}%", "t")
    assert threshold.ratio == share
    # It stands for itself wherever it is read again.
    assert parse_threshold(threshold.text, "t") == threshold
    fast, slow = threshold.limits(1.0)
    assert fast * slow == pytest.approx(1.0)


@given(number=POSITIVE, unit=st.sampled_from(["s", "ms", "us"]), baseline_s=st.floats(1e-7, 1e3))
def test_a_time_as_a_threshold_is_added_to_the_baseline(
    number: str, unit: str, baseline_s: float
) -> None:
    threshold = parse_threshold(f"{number}{unit}", "t")
    _, slow = threshold.limits(baseline_s)
    added_s = float(number) * UNITS_S[unit]
    assert slow * baseline_s == pytest.approx(baseline_s + added_s)


@given(value=st.floats(min_value=0, allow_infinity=False))
def test_a_tolerance_is_itself(value: float) -> None:
    assume(value < 1e300)
    assert parse_tolerance(value, "rtol") == value


@given(sizes=st.dictionaries(NAMES.map(str.strip), st.integers(1, MAX_SIZE), min_size=1))
def test_sizes_by_name_are_read_back_from_texts_and_tables(sizes: dict[str, int]) -> None:
    assert parse_dims(sizes, "dims") == sizes
    assert parse_dims([f"{name}={size}" for name, size in sizes.items()], "dims") == sizes


@given(config=CONFIGS)
def test_a_target_has_one_name_however_it_is_written(config: dict[str, Any]) -> None:
    attributes = {f"-{key}": str(value).lower() for key, value in config.items()}
    kind = attributes.pop("-kind")
    line = " ".join([kind, *(f"{key}={text}" for key, text in attributes.items())])
    specs = [parse_target(one) for one in (config, json.dumps(config), line)]
    assert len({spec.name for spec in specs}) == len({spec.config_json for spec in specs}) == 1
    # Cores change no code.
    assert parse_target({**config, "num-cores": 4}).name == specs[0].name
    assert parse_target(specs[0].config_json).config_json == specs[0].config_json


PARSERS: dict[str, Callable[[Any], object]] = {
    "count": lambda value: parse_count(value, "option", minimum=0),
    "seconds": lambda value: parse_seconds(value, "option"),
    "tolerance": lambda value: parse_tolerance(value, "option"),
    "share": lambda value: parse_share(value, "option"),
    "threshold": lambda value: parse_threshold(value, "option"),
    "dims": lambda value: parse_dims(value, "option"),
    "target": lambda value: parse_target(value, "option"),
}


@pytest.mark.parametrize("parse", PARSERS.values(), ids=PARSERS)
@given(value=JSON)
@example(value=math.nan)
@example(value="-")
@example(value='"')
def test_whatever_is_no_such_value_is_refused_by_the_options_name(
    parse: Callable[[Any], object], value: Any
) -> None:
    try:
        parse(value)
    except OptionError as error:
        assert str(error).startswith("option: ")  # noqa: PT017


def toml(value: object) -> str:
    # JSON's strings, numbers and lists are TOML's, but for the DEL that it wants escaped.
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


NUMBERS = st.recursive(
    st.booleans() | st.integers(-(2**53), 2**53) | st.floats(-1e15, 1e15),
    lambda inner: st.lists(inner, max_size=3),
    max_leaves=5,
)
KEYS_OF_INPUTS = st.text(st.characters(codec="utf-8"), min_size=1, max_size=8)


@given(
    shapes=st.dictionaries(KEYS_OF_INPUTS, st.lists(st.integers(1, 10**6), max_size=4), min_size=1),
    inputs=st.dictionaries(KEYS_OF_INPUTS, NUMBERS, min_size=1),
    expected=st.sampled_from(REFERENCES[1:]),
    marks=st.lists(st.sampled_from(["slow", "nightly", "gpu"])),
)
def test_a_sidecar_is_read_back(
    shapes: dict[str, list[int]], inputs: dict[str, Any], expected: str, marks: list[str]
) -> None:
    lines = [f"expected = {toml(expected)}", f"marks = {toml(marks)}", "[shapes]"]
    lines += [f"{toml(name)} = {toml(sizes)}" for name, sizes in shapes.items()]
    lines += ["[inputs]", *(f"{toml(name)} = {toml(value)}" for name, value in inputs.items())]
    read = parse_sidecar("\n".join(lines), Path("/models"))
    assert read.shapes == {name: tuple(sizes) for name, sizes in shapes.items()}
    assert read.inputs == inputs
    assert (read.expected, read.marks) == (expected, tuple(marks))


@given(text=st.text())
def test_a_sidecar_that_is_none_is_refused(text: str) -> None:
    try:
        parse_sidecar(text, Path("/models"))
    except OptionError as error:
        assert str(error)  # noqa: PT017
