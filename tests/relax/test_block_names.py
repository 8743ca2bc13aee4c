"""Reductions are named after variables of the model, which each importer names differently."""

from __future__ import annotations

from typing import Any

from pytest_tvmtune.relax.tuning.replaying.block_names import blocks_of, with_own_block_names


def trace(*names: str) -> list[Any]:
    found = [["GetSBlock", [], [name, "main"], ["b0"]] for name in names]
    return [[*found, ["GetLoops", ["b0"], [], ["l1"]]], [[0, 1]]]


def names(made: list[Any]) -> list[str]:
    return [one[2][0] for one in made[0] if one[0] == "GetSBlock"]


def test_a_reduction_and_what_is_derived_from_it_are_renamed() -> None:
    old = trace("gv83_red", "root", "gv83_red_rf", "T_divide")
    made = with_own_block_names(old, ["root", "lv81_red", "T_divide"])
    assert names(made) == ["lv81_red", "root", "lv81_red_rf", "T_divide"]
    assert made[1] == old[1]
    assert names(old)[0] == "gv83_red"  # left as it was


def test_several_are_paired_in_order() -> None:
    made = with_own_block_names(trace("a_red", "b_red", "a_red"), ["x_red", "y_red"])
    assert names(made) == ["x_red", "y_red", "x_red"]


def test_known_names_stay() -> None:
    old = trace("x_red", "b_red")
    assert names(with_own_block_names(old, ["x_red", "y_red"])) == ["x_red", "y_red"]
    assert with_own_block_names(trace("x_red"), ["x_red", "y_red"]) == trace("x_red")


def test_what_can_not_be_paired_stays() -> None:
    old = trace("a_red", "b_red")
    assert with_own_block_names(old, ["x_red"]) == old
    assert with_own_block_names(trace("matmul"), ["conv2d"]) == trace("matmul")


def test_the_blocks_of_a_script() -> None:
    script = 'with T.sblock("root"):\n  with T.sblock("x_red"):\n with T.block("y"):'
    assert blocks_of(script) == ["root", "x_red", "y"]
