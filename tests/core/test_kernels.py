"""Which kernels of two modules belong together."""

from __future__ import annotations

import json

import pytest

from pytest_tvmtune.core.json_codec import from_json_values, to_json_values
from pytest_tvmtune.core.kernels.matching import (
    Kernel,
    family,
    matching_kernels,
    matching_positions,
    task_name,
)


def kernel(shash: str = "", code: str = "") -> Kernel:
    return Kernel(outputs=(1,), shash=shash, code=code)


def test_a_kernel_survives_json_text() -> None:
    full = Kernel(outputs=(0, 3), in_place=(0,), shash="ab", record="cd", code="ef")
    assert from_json_values(json.loads(json.dumps(to_json_values(full))), Kernel) == full


@pytest.mark.parametrize("loaded", [{}, {"outputs": None}, {"outputs": ["0"]}])
def test_what_is_no_kernel(loaded: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="outputs"):
        from_json_values(loaded, Kernel)


def test_prepacking_renames_a_kernel_and_not_its_task() -> None:
    assert task_name("fused_matmul1_prepacked") == "fused_matmul1"
    assert task_name("fused_matmul1") == "fused_matmul1"
    # What transforms its weights is no part of the task.
    assert task_name("fused_matmul1_weight_prepack") == "fused_matmul1_weight_prepack"


@pytest.mark.parametrize(
    "name", ["matmul", "matmul1", "matmul12", "matmul1_prepacked", "matmul_prepacked2"]
)
def test_a_family_has_no_numbers_and_is_never_prepacked(name: str) -> None:
    assert family(name) == "matmul"
    assert family("fused_" + name) != "matmul"


@pytest.mark.parametrize(
    ("before", "now", "pairs"),
    [
        ("", "", []),
        ("abc", "", []),
        ("abc", "abc", [(0, 0), (1, 1), (2, 2)]),
        ("abc", "axc", [(0, 0), (2, 2)]),
        ("abc", "xabyc", [(0, 1), (1, 2), (2, 4)]),
        ("aaa", "aa", [(0, 0), (1, 1)]),
        ("ab", "ba", [(0, 1)]),
        ("abc", "xyz", []),
    ],
)
def test_calls_are_aligned_in_order(before: str, now: str, pairs: list[tuple[int, int]]) -> None:
    assert matching_positions(before, now) == pairs


def test_what_is_frequent_is_aligned_too() -> None:
    """As difflib's autojunk, on by default, would not."""
    assert len(matching_positions("ab" * 500, "ab" * 500)) == 1000


def test_the_hash_of_the_task_decides_whatever_the_name() -> None:
    before = {"matmul": kernel("1"), "matmul1": kernel("2"), "gone": kernel("3")}
    now = {"new": kernel("4"), "matmul": kernel("2"), "matmul1": kernel("1")}
    assert matching_kernels(before, now) == {"matmul": "matmul1", "matmul1": "matmul"}


def test_then_what_was_compiled_then_the_name() -> None:
    before = {
        "a": kernel("1", "x"),
        "b": kernel(code="y"),
        "c": kernel("2", "z"),
        "d": kernel(code="v"),
    }
    now = {
        "c": kernel("9", "w"),
        "b": kernel(code="w"),
        "renamed": kernel(code="y"),
        "e": kernel("1", "other"),
    }
    found = matching_kernels(before, now)
    assert found == {"c": "c", "renamed": "b", "e": "a"}
    assert list(found) == ["c", "renamed", "e"]


def test_no_hash_and_no_code_are_nothing_in_common() -> None:
    assert matching_kernels({"a": kernel()}, {"b": kernel()}) == {}


def test_prepacked_kernels_belong_to_prepacked_ones() -> None:
    before = {"matmul": kernel("1", "x"), "matmul_prepacked": kernel("1", "y")}
    now = {"mm_prepacked": kernel("1", "z"), "mm": kernel("1", "w")}
    assert matching_kernels(before, now) == {"mm_prepacked": "matmul_prepacked", "mm": "matmul"}


def test_several_of_one_workload_belong_together_by_name_then_in_order() -> None:
    alike = kernel("1", "x")
    names = ["a", "b", "c", "d"]
    before = dict.fromkeys(names, alike)
    assert matching_kernels(before, dict.fromkeys(names, alike)) == {name: name for name in names}
    assert matching_kernels(before, dict.fromkeys(["d", "x", "y"], alike)) == {
        "d": "d",
        "x": "a",
        "y": "b",
    }
    assert matching_kernels(dict.fromkeys("xy", alike), dict.fromkeys("yzw", alike)) == {
        "y": "y",
        "z": "x",
    }
    coded = kernel(code="x")
    assert matching_kernels(dict.fromkeys("ab", coded), dict.fromkeys("cd", coded)) == {
        "c": "a",
        "d": "b",
    }
