"""The codec: what is read back is what was written, and what is wrong is named with its place."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_tvmtune.core.json_codec import (
    Count,
    NullableFloat,
    Sha256,
    finite,
    from_binary,
    from_json,
    from_json_values,
    to_binary,
    to_json,
    to_json_values,
)


@dataclass(frozen=True, kw_only=True)
class Inner:
    index: tuple[Count, ...]
    error: NullableFloat
    text: str = ""


@dataclass(frozen=True, kw_only=True)
class Outer:
    inner: list[Inner] = field(default_factory=list)
    bounds: tuple[NullableFloat, NullableFloat] | None = None
    seconds: float | None = None
    digest: Sha256 = "0" * 64


# Also lone surrogates: what Python makes of bytes in a path that are no UTF-8.
TEXTS = st.text(st.characters(min_codepoint=1))


def outers(floats: st.SearchStrategy[float], texts: st.SearchStrategy[str]) -> Any:
    inner = st.builds(Inner, index=st.lists(st.integers(0)).map(tuple), error=floats, text=texts)
    return st.builds(
        Outer,
        inner=st.lists(inner, max_size=3),
        bounds=st.none() | st.tuples(floats, floats),
        seconds=st.none() | floats,
    )


FINITE = st.floats(allow_nan=False, allow_infinity=False)


@given(outers(FINITE, TEXTS))
def test_json_keeps_every_value(value: Outer) -> None:
    assert from_json(to_json(value), Outer) == value
    assert from_json_values(json.loads(json.dumps(to_json_values(value))), Outer) == value


@given(outers(st.floats(allow_nan=False), st.text()))
def test_binary_keeps_infinities_too(value: Outer) -> None:
    small = [one for one in value.inner if all(index < 1 << 64 for index in one.index)]
    assert from_binary(to_binary(small), list[Inner]) == small


def test_what_the_codec_knows_is_not_asked_of_others() -> None:
    def other(kind: type, _value: object) -> object:
        raise AssertionError(kind)

    value = Inner(index=(1,), error=math.inf)
    assert from_binary(to_binary(value), Inner, other) == value


@pytest.mark.parametrize("number", [math.inf, -math.inf, math.nan])
def test_what_json_can_not_hold_is_nan_when_it_is_read(number: float) -> None:
    value = Outer(inner=[Inner(index=(), error=number)], bounds=(0.0, number), seconds=number)
    written = to_json(value)
    json.loads(written, parse_constant=pytest.fail)
    back = from_json(written, Outer)
    assert math.isnan(back.inner[0].error)
    assert back.bounds is not None
    assert (back.bounds[0], math.isnan(back.bounds[1])) == (0.0, True)
    # A field that may be None is None.
    assert back.seconds is None


def test_keys_of_other_versions_are_left_out_and_missing_ones_have_defaults() -> None:
    loaded = {"inner": [{"index": [1], "error": 1, "later": {}}], "later": 5}
    assert from_json_values(loaded, Outer) == Outer(inner=[Inner(index=(1,), error=1.0)])


@pytest.mark.parametrize(
    ("loaded", "message"),
    [
        (None, "Expected `object`, got `null`"),
        ({"inner": {}}, r"Expected `array`, got `object` - at `\$.inner`"),
        ({"inner": [{"index": []}]}, "missing required field `error`"),
        ({"inner": [{"index": [True], "error": 0}]}, r"got `bool` - at `\$.inner\[0\].index\[0\]`"),
        ({"inner": [{"index": [-1], "error": 0}]}, "Expected `int` >= 0"),
        ({"inner": [{"index": [], "error": "0"}]}, r"got `str` - at `\$.inner\[0\].error`"),
        ({"inner": [{"index": [], "error": True}]}, r"got `bool` - at `\$.inner\[0\].error`"),
        ({"inner": [{"index": [], "error": 10**400}]}, "out of range"),
        ({"seconds": 10**400}, "out of range"),
        ({"bounds": [1.0]}, "length 2, got 1"),
        ({"digest": "0" * 64 + "\n"}, "at `\\$.digest`"),
        ({"digest": "0" * 63 + "\n"}, "at `\\$.digest`"),
        ({"digest": "../" * 21 + "a"}, "at `\\$.digest`"),
        ({5: 5}, "Expected `str`"),
    ],
)
def test_the_first_wrong_value_is_named(loaded: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        from_json_values(loaded, Outer)


def test_what_hooks_add_is_made_finite_wherever_it_is() -> None:
    added = {"a": [math.inf, {"b": (math.nan, 1)}], "c": "NaN", "d": True}
    assert finite(added) == {"a": [None, {"b": [None, 1]}], "c": "NaN", "d": True}


class Text(str):
    """As TVM's own strings are."""

    __slots__ = ()


class Seconds(float):
    """As numpy's numbers are."""


def test_subclasses_of_plain_types_are_written_as_those() -> None:
    written = {Text("name"): [Text("value"), Seconds(0.5)]}
    plain = {"name": ["value", 0.5]}
    assert from_binary(to_binary(written), dict[str, list[str | float]]) == plain
    assert from_json(to_json(written), dict[str, list[str | float]]) == plain
