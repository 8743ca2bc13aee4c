"""Kernels in the terminal, from plain values."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest

from pytest_tvmtune.core.comparing.divergence import ArgumentStats, Divergence
from pytest_tvmtune.core.kernels.kernel_table import BUILT_INS, KernelTable, KernelTime
from pytest_tvmtune.report.kernel_lines import divergence_lines, kernel_lines, slower_kernels_line
from tests.support.sample_report import PEAK


def row(name: str, now_s: float, before_s: float | None = None, **values: Any) -> KernelTime:
    compared: dict[str, Any] = {} if before_s is None else {
        "baseline_calls": 1, "baseline_s": before_s, "code_differs": True
    }  # fmt: skip
    compared |= {"name": name, "calls": 1, "now_s": now_s, "share": 0.5} | values
    return KernelTime(**compared)


def table(*rows: KernelTime, before_s: float | None = 80e-6) -> KernelTable:
    return KernelTable(
        rows=rows, end_to_end_s=100e-6, overhead_s=0.4e-6, baseline_end_to_end_s=before_s
    )


@pytest.mark.parametrize(
    ("one", "said"),
    [
        (row("a", 3e-6, 2e-6), "a +1 us (2 us -> 3 us, 1.50x)"),
        (row("a", 3e-6, 2e-6, code_differs=False), "a (same code) +1 us (2 us -> 3 us, 1.50x)"),
        (
            row(BUILT_INS, 3e-6, 2e-6, code_differs=False),
            f"{BUILT_INS} +1 us (2 us -> 3 us, 1.50x)",
        ),
        (row("a", 3e-6, 0.0, baseline_calls=0), "a +3 us (0 us -> 3 us, new)"),
        # So short that the instrument's cost was all of it.
        (row("a", 3e-6, 0.0), "a +3 us (0 us -> 3 us)"),
        (row("a", 4e-6, 2e-6, calls=2), "a +2 us (2 us -> 4 us, 1 -> 2 calls, 2.00x)"),
    ],
)
def test_a_kernel_that_costs_more(one: KernelTime, said: str) -> None:
    assert slower_kernels_line(table(one)) == f"costs more: {said}"


def test_three_are_named_and_no_trifles() -> None:
    dear = [row(name, 10e-6 - n * 1e-6, 1e-6) for n, name in enumerate("abcd")]
    line = slower_kernels_line(table(*dear))
    assert [part.split()[0] for part in line.removeprefix("costs more: ").split("; ")] == [
        "a", "b", "c"
    ]  # fmt: skip
    line = slower_kernels_line(table(row("a", 11e-6, 1e-6), row("b", 1.4e-6, 1e-6)))
    assert "; " not in line


@pytest.mark.parametrize("rows", [[], [row("a", 1e-6, 1e-6), row("b", 1e-6, 2e-6)]])
def test_when_no_kernel_costs_more(rows: list[KernelTime]) -> None:
    assert slower_kernels_line(table(*rows)) == (
        "no kernel costs more: the time is lost between the kernels"
    )


def test_the_table_of_one_artifact() -> None:
    lines = kernel_lines(
        table(
            row("fused_matmul", 60e-6, calls=2, tuned=True),
            row(BUILT_INS, 30e-6, share=0.25),
            before_s=None,
        )
    )
    assert lines == [
        "kernel        calls    now   share  tuned",
        "fused_matmul      2  60 us  50.0 %  yes",
        "vm.builtin        1  30 us  25.0 %  -",
        (
            "together 90 us of 100 us end to end, after subtracting 0.4 us for each kernel, the "
            "cost of the instrument"
        ),
    ]


def test_the_table_beside_a_baseline() -> None:
    lines = kernel_lines(
        table(
            row("a", 60e-6, 20e-6, calls=2, tuned=True),
            row("b", 30e-6, 30e-6, code_differs=False),
            row(BUILT_INS, 5e-6, 6e-6, code_differs=False),
            row("gone", 0.0, 9e-6, calls=0),
        )
    )
    assert lines == [
        "kernel       calls    now   share  tuned  baseline    more  code",
        "a           1 -> 2  60 us  50.0 %  yes       20 us  +40 us  differs",
        "b                1  30 us  50.0 %  no        30 us   +0 us  same",
        "vm.builtin       1   5 us  50.0 %  -          6 us   -1 us  -",
        "gone        1 -> 0   0 us  50.0 %  no         9 us   -9 us  differs",
        (
            "together 95 us of 100 us end to end (baseline 80 us), after subtracting 0.4 us for "
            "each kernel, the cost of the instrument"
        ),
    ]


def test_a_table_with_the_peak_of_the_machine() -> None:
    known = row("a", 60e-6, flop=6_000_000, traffic_bytes=300_000, possible_s=2e-5, bound="compute")
    moves = row("b", 30e-6, flop=0, traffic_bytes=3000, possible_s=1e-5, bound="L2 cache")
    integers = row("c", 10e-6, traffic_bytes=1000)
    found = replace(table(known, moves, integers, before_s=None), peak=PEAK)
    assert kernel_lines(found) == [
        "kernel  calls    now   share  tuned  GFLOP/s  GB/s  of peak  bound",
        "a           1  60 us  50.0 %  no         100     5   33.3 %  compute",
        "b           1  30 us  50.0 %  no           0   0.1   33.3 %  L2 cache",
        "c           1  10 us  50.0 %  no           ?   0.1        ?  ?",
        (
            "together 100 us of 100 us end to end, after subtracting 0.4 us for each kernel, the "
            "cost of the instrument"
        ),
        (
            "measured peak with 2 threads: 300 GFLOP/s of float32 (AVX-512), L2 cache 150 GB/s, "
            "L3 cache 50 GB/s, memory 20 GB/s; kernels with 90.0 % of the time reach 33.3 % of "
            "the peak"
        ),
    ]


def test_a_long_table_is_cut() -> None:
    lines = kernel_lines(table(*(row(f"k{n}", 1e-6) for n in range(23)), before_s=None))
    assert len(lines) == 1 + 20 + 2
    assert lines[-2] == "3 more kernels in the JSON report"
    assert not any("more" in line for line in kernel_lines(table(row("a", 1e-6), before_s=None)))


def argument(**values: Any) -> ArgumentStats:
    given: dict[str, Any] = (
        {"index": 1, "dtype": "float32", "shape": (2, 3), "minimum": -1.0, "maximum": 2.5}
        | {"mean": 0.25} | values
    )  # fmt: skip
    return ArgumentStats(**given)


@pytest.mark.parametrize(
    ("one", "said"),
    [
        (argument(), "argument 1 float32[2, 3]: -1 to 2.5, mean 0.25"),
        (argument(nan=2), "argument 1 float32[2, 3]: -1 to 2.5, mean 0.25, 2 NaN"),
        (
            argument(nan=1, inf=2, max_abs_error=0.0),
            "argument 1 float32[2, 3]: -1 to 2.5, mean 0.25, 1 NaN, 2 Inf; max abs error 0",
        ),
        (
            argument(shape=(0,), minimum=math.nan, maximum=math.nan, mean=math.nan),
            "argument 1 float32[0]: no finite value",
        ),
    ],
)
def test_an_argument_of_a_diverging_kernel(one: ArgumentStats, said: str) -> None:
    found = Divergence(kind="kernel", against="it", arguments=(one,))
    assert divergence_lines(found) == [f"  {said}"]


def test_schedule_and_reproducer_of_a_diverging_kernel() -> None:
    assert divergence_lines(Divergence(kind="none", against="it")) == []
    found = Divergence(kind="kernel", against="it", trace="b0 = x\nb1 = y", reproducer="r/k")
    assert divergence_lines(found) == [
        "  schedule:", "    b0 = x", "    b1 = y", "  reproducer: r/k"
    ]  # fmt: skip
