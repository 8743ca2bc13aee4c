"""Dynamic dimensions: what sets them, which layer counts, what to write where nothing does."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from pytest_tvmtune.core.errors import GivenError, OptionError
from pytest_tvmtune.core.settings.dimension_sizes import (
    Dims,
    DynamicInput,
    check_names,
    parse_dims,
    shapes_sentence,
    sizes_by_name,
    toml_of,
    unset_sentence,
)
from pytest_tvmtune.core.settings.options import resolve_run
from pytest_tvmtune.core.settings.parsing import parse_marker
from pytest_tvmtune.core.settings.sidecar import parse_sidecar
from pytest_tvmtune.core.settings.table import BY_NAME
from pytest_tvmtune.core.settings.target_spec import parse_target

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

NAMED = DynamicInput(name="ids", declared=("batch", "a b", 3), sizes=(1, 7, 3), unset=(0,))
MIXED = DynamicInput(name="x/in", declared=("batch", "?"), sizes=(1, 1), unset=(0, 1))
NO_RANK = DynamicInput(name="z", declared=None)


def test_a_table_and_texts_say_the_same() -> None:
    wanted = {"batch": 2, "seq_len": 64}
    assert parse_dims(wanted, "dims") == wanted
    assert parse_dims(["batch=2", " seq_len = 64 "], "--tvm-dim") == wanted
    assert parse_dims("a=b=3", "--tvm-dim") == {"a=b": 3}
    # As an option in addopts and one that was typed after it.
    assert parse_dims(["n=1", "n=2"], "--tvm-dim") == {"n": 2}


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (["batch"], "--tvm-dim: 'batch' is not NAME=SIZE, such as batch=1"),
        (["=3"], "--tvm-dim: '' is not the name of a dimension"),
        (["batch=0"], "--tvm-dim: batch: 0 is out of range; give a whole number from 1 to"),
        (["batch=-1"], "--tvm-dim: batch: -1 is out of range"),
        (["batch=large"], "--tvm-dim: batch: 'large' is not a whole number from 1 to"),
        ({"batch": 1.5}, "--tvm-dim: batch: 1.5 is not a whole number"),
        ({"batch": True}, "--tvm-dim: batch: True is not a whole number"),
        ({"batch": 2**31}, "--tvm-dim: batch: 2147483648 is out of range"),
        ({3: 1}, "--tvm-dim: 3 is not the name of a dimension"),
        (5, "--tvm-dim: 5 is not NAME=SIZE, .* in a sidecar, a table"),
    ],
)
def test_bad_ones(value: Any, message: str) -> None:
    with pytest.raises(OptionError, match=message):
        parse_dims(value, "--tvm-dim")


def test_its_names_at_each_level() -> None:
    setting = BY_NAME["dims"]
    assert (setting.flag, setting.ini) == ("--tvm-dim", "tvm_dim")
    assert parse_marker({"dims": {"n": 2}}) == {"dims": {"n": 2}}
    assert parse_sidecar("[dims]\nn = 2", Path("m")).options == {"dims": {"n": 2}}
    with pytest.raises(OptionError, match=r"unknown key 'dim'; .* did you mean 'dims'"):
        parse_sidecar("[dim]\nn = 2", Path("m"))


def test_the_closest_level_counts_for_each_name() -> None:
    command_line, ini = {"dims": {"b": 2, "c": 2}}, {"dims": {"a": 1, "b": 1, "c": 1}}
    run = resolve_run(command_line, ini, store_dir=Path("store"))
    options = run.case_options({"dims": {"c": 3}}, target=parse_target("llvm"), prepack=False)
    assert options.dims == Dims(sizes={"a": 1, "b": 2, "c": 3}, own=frozenset({"c"}))
    assert run.dims == {"a": 1, "b": 2, "c": 2}
    bare = resolve_run(store_dir=Path("store"))
    assert bare.case_options({}, target=parse_target("llvm"), prepack=False).dims == Dims()


def test_what_to_paste_can_be_pasted() -> None:
    odd = DynamicInput(name='say "x"', declared=("?", "line\nbreak"), sizes=(1, 1), unset=(0, 1))
    loaded = tomllib.loads(toml_of([NAMED, MIXED, NO_RANK, odd]))
    assert loaded == {
        "dims": {"batch": 1, "a b": 7},
        "shapes": {"x/in": [1, 1], "z": [1], 'say "x"': [1, 1]},
    }
    # It says what it was made of, and is what a sidecar may say.
    assert "[1, 1]  # (batch, ?)" in toml_of([MIXED])
    said = parse_sidecar(toml_of([NAMED, MIXED]), Path("m"))
    assert (said.options, said.shapes) == ({"dims": {"batch": 1, "a b": 7}}, {"x/in": (1, 1)})


def test_what_nothing_sets_is_told_with_what_to_write() -> None:
    assert unset_sentence([], "") == ""
    assert unset_sentence([DynamicInput(name="x", declared=("n",), sizes=(5,))], "") == ""
    said = unset_sentence([NAMED, MIXED], "models/m.tvmtune.toml")
    first, *lines = said.splitlines()
    assert first == (
        "no setting gives these dynamic dimensions a size, so each is 1: batch, dimension 1 of "
        "'x/in'. "
        "Set them in models/m.tvmtune.toml:"
    )
    assert lines == [
        "    [dims]",
        "    batch = 1",
        '    "a b" = 7',
        "",
        "    [shapes]",
        '    "x/in" = [1, 1]  # (batch, ?)',
    ]
    many = DynamicInput(name="m", declared=("?", 3, "?"), sizes=(1, 3, 1), unset=(0, 2))
    assert "each is 1: dimensions 0, 2 of 'm'. Set" in unset_sentence([many], "")
    assert unset_sentence([NAMED, MIXED], "").splitlines()[1:] == [
        "    @pytest.mark.tvm_tune(dims={'batch': 1, 'a b': 7})",
        "    tvm_tune(model, shapes={'x/in': (1, 1)})",
    ]


def test_all_dynamic_inputs_are_told_at_once() -> None:
    said = shapes_sentence([NAMED, MIXED, NO_RANK], "m.tvmtune.toml")
    assert said.startswith(
        "Dynamic inputs of the model: 'ids' (batch, a b, 3), 'x/in' (batch, ?), 'z' (no rank); "
        "a dimension without a size in the settings is 1. Set them in m.tvmtune.toml:\n"
    )
    assert "    z = [1]  # no rank: give all sizes" in said


def test_a_name_that_only_the_run_sets_needs_no_model() -> None:
    check_names(Dims(sizes={"n": 1}), [NAMED], "m")
    with pytest.raises(GivenError, match=r"m: dims has 'n', .* dimensions are batch, a b$"):
        check_names(Dims(sizes={"n": 1}, own=frozenset({"n"})), [NAMED], "m")
    with pytest.raises(GivenError, match=r"m: dims has 'n', but no dynamic .* has a name$"):
        check_names(Dims(sizes={"n": 1}, own=frozenset({"n"})), [], "m")


def test_sizes_by_name() -> None:
    assert sizes_by_name([MIXED, NAMED, NO_RANK]) == {"batch": 1, "a b": 7}
