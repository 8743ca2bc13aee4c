"""The table of kernels: what each costs, and what it costs more than in the baseline."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace

import pytest

from pytest_tvmtune.core.json_codec import from_json_values, to_json_values
from pytest_tvmtune.core.kernels.kernel_table import (
    BUILT_INS,
    KernelTable,
    KernelTime,
    SideTimes,
    table_of,
)
from pytest_tvmtune.core.kernels.matching import Kernel, Kernels


def kernel(shash: str, code: str, record: str = "") -> Kernel:
    return Kernel(outputs=(1,), shash=shash, code=code, record=record)


KERNELS = {"a": kernel("1", "x", "r"), "b": kernel("2", "y"), "unused": kernel("3", "z")}


def times(kernels: Mapping[str, tuple[int, float]], end_to_end_s: float = 8.0) -> SideTimes:
    """Return what was measured in three pairs, of which the second was of the usual speed."""
    return SideTimes(
        kernels={
            name: (calls, [seconds / 2, seconds, seconds * 4])
            for name, (calls, seconds) in kernels.items()
        },
        end_to_end_s=[end_to_end_s / 2, end_to_end_s, end_to_end_s * 4],
    )


NOW = times({BUILT_INS: (5, 1.0), "b": (1, 2.0), "a": (2, 5.0)}, 10.0)


def table(
    now: SideTimes = NOW,
    kernels: Kernels = KERNELS,
    before: SideTimes | None = None,
    old: Kernels | None = None,
) -> KernelTable:
    return table_of(now, kernels, 0.5, before, {} if old is None else old)


def rows(found: KernelTable) -> dict[str, KernelTime]:
    assert len({row.name for row in found.rows}) == len(found.rows)
    return {row.name: row for row in found.rows}


def test_without_a_baseline_the_dearest_comes_first() -> None:
    found = table()
    assert found == KernelTable(
        rows=(
            KernelTime(name="a", calls=2, now_s=5.0, share=5 / 8, tuned=True),
            KernelTime(name="b", calls=1, now_s=2.0, share=2 / 8),
            KernelTime(name=BUILT_INS, calls=5, now_s=1.0, share=1 / 8),
        ),
        end_to_end_s=10.0,
        overhead_s=0.5,
    )
    assert [row.cost_s for row in found.rows] == [5.0, 2.0, 1.0]


def test_how_it_adds_up() -> None:
    assert (table().together_s, table().unexplained_s) == (8.0, 2.0)
    assert table(replace(NOW, end_to_end_s=[7.5])).unexplained_s == -0.5
    assert sum(row.share for row in table().rows) == 1.0


@pytest.mark.parametrize("kernels", [{}, {"a": (1, 0.0)}])
def test_nothing_that_takes_time(kernels: dict[str, tuple[int, float]]) -> None:
    found = table(times(kernels))
    assert [row.share for row in found.rows] == [0.0] * len(kernels)
    assert found.together_s == 0.0


def test_beside_a_baseline_what_costs_more_comes_first() -> None:
    before = times({"first": (2, 1.0), "b": (1, 2.5), "gone": (3, 4.0), BUILT_INS: (4, 0.5)}, 7.0)
    old = {
        "first": kernel("1", "w", "other"),
        "b": kernel("2", "y"),
        "gone": kernel("9", "v", "r"),
    }
    found = table(before=before, old=old)
    assert [(row.name, row.cost_s) for row in found.rows] == [
        ("a", 4.0), (BUILT_INS, 0.5), ("b", -0.5), ("gone", -4.0)
    ]  # fmt: skip
    of = rows(found)
    assert (of["a"].baseline_calls, of["a"].baseline_s, of["a"].code_differs) == (2, 1.0, True)
    assert (of["b"].baseline_s, of["b"].code_differs) == (2.5, False)
    assert (of[BUILT_INS].baseline_calls, of[BUILT_INS].code_differs) == (4, False)
    assert of["gone"] == KernelTime(
        name="gone",
        calls=0,
        now_s=0.0,
        share=0.0,
        tuned=True,
        baseline_calls=3,
        baseline_s=4.0,
        code_differs=True,
    )
    assert found.baseline_end_to_end_s == 7.0
    # Kernels of the baseline are no part of a call now.
    assert found.together_s == 8.0


def test_a_machine_that_is_slower_for_some_pairs_is_so_on_both_sides() -> None:
    """The pairs' ratios count: the difference of the medians would be 1 s."""
    now, before = (
        SideTimes(kernels={"a": (1, pairs_s)}, end_to_end_s=pairs_s)
        for pairs_s in ([3.0, 6.0, 12.0, 6.0, 3.0], [2.0, 4.0, 8.0, 5.0, 7.0])
    )
    found = table(now, before=before, old=KERNELS)
    assert rows(found)["a"].now_s == found.end_to_end_s == 6.0
    assert rows(found)["a"].baseline_s == found.baseline_end_to_end_s == pytest.approx(4.0)


@pytest.mark.parametrize(
    ("now_s", "before_s"), [([0.0, 0.0, 3.0], [1.0, 2.0, 4.0]), ([0.0], [2.0])]
)
def test_a_kernel_too_quick_to_be_told_from_the_instrument(
    now_s: list[float], before_s: list[float]
) -> None:
    now, before = (
        SideTimes(kernels={"a": (1, pairs_s)}, end_to_end_s=[9.0] * len(pairs_s))
        for pairs_s in (now_s, before_s)
    )
    of = rows(table(now, before=before, old=KERNELS))["a"]
    assert (of.now_s, of.baseline_s) == (0.0, 2.0)


def test_a_new_kernel_took_nothing_before() -> None:
    old = {"a": KERNELS["a"]}
    of = rows(table(before=times({"a": (2, 5.0)}), old=old))
    assert (of["b"].baseline_calls, of["b"].baseline_s, of["b"].cost_s) == (0, 0.0, 2.0)
    assert of["b"].code_differs
    assert not of["a"].code_differs
    assert of[BUILT_INS].baseline_calls == 0


def test_built_ins_that_only_the_baseline_calls_are_told() -> None:
    found = table(times({"a": (2, 5.0)}), before=times({BUILT_INS: (4, 0.5)}), old={})
    assert rows(found)[BUILT_INS].cost_s == -0.5


def test_external_functions_have_one_name_on_both_sides() -> None:
    now = times({"cblas.matmul": (1, 3.0), "cblas.new": (1, 1.0)})
    found = table(now, before=times({"cblas.matmul": (1, 2.0)}), old=KERNELS)
    of = rows(found)
    assert set(of) == {"cblas.matmul", "cblas.new"}
    assert (of["cblas.matmul"].cost_s, of["cblas.matmul"].code_differs) == (1.0, False)
    assert not of["cblas.matmul"].tuned
    assert of["cblas.new"].baseline_calls == 0
    gone = rows(table(before=times({"cblas.matmul": (1, 2.0)}), old=KERNELS))["cblas.matmul"]
    assert (gone.calls, gone.tuned) == (0, False)


def test_a_partner_that_the_baseline_does_not_call() -> None:
    """The module has it, for another entry."""
    of = rows(table(before=times({"b": (1, 2.0)}), old=KERNELS))
    assert (of["a"].baseline_calls, of["a"].baseline_s, of["a"].code_differs) == (0, 0.0, False)


def test_equal_costs_stand_by_name() -> None:
    found = table(times({"c": (1, 1.0), "b": (1, 1.0), "a": (1, 1.0)}))
    assert [row.name for row in found.rows] == ["a", "b", "c"]


def test_a_table_survives_json_text() -> None:
    found = table(before=times({"a": (1, 2.0)}), old=KERNELS)
    assert from_json_values(json.loads(json.dumps(to_json_values(found))), KernelTable) == found
