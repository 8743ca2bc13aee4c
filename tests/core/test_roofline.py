"""The roofline: the shortest time of kernels, from plain values."""

from __future__ import annotations

from dataclasses import replace

import pytest

from pytest_tvmtune.core.kernels.kernel_table import (
    BUILT_INS,
    KernelTable,
    KernelTime,
    with_work,
)
from pytest_tvmtune.core.kernels.matching import Kernel
from pytest_tvmtune.core.kernels.roofline import Bandwidth, MachinePeak, Possible, possible_time
from pytest_tvmtune.report.roofline_words import reached_words

PEAK = MachinePeak(
    flop_per_s=1e11,
    bandwidths=(
        Bandwidth(name="L2 cache", capacity_bytes=1000, bytes_per_s=1e11),
        Bandwidth(name="memory", capacity_bytes=None, bytes_per_s=1e10),
    ),
    num_threads=2,
    instructions="AVX-512",
)


@pytest.mark.parametrize(
    ("flop", "traffic_bytes", "possible"),
    [
        (2000, 1000, Possible(seconds=2e-8, bound="compute")),
        (500, 1000, Possible(seconds=1e-8, bound="L2 cache")),
        (0, 1000, Possible(seconds=1e-8, bound="L2 cache")),
        # One byte more doesn't fit into the cache.
        (2000, 1001, Possible(seconds=1.001e-7, bound="memory")),
        (20_000, 1001, Possible(seconds=2e-7, bound="compute")),
    ],
)
def test_the_slower_of_operations_and_traffic_is_the_bound(
    flop: int, traffic_bytes: int, possible: Possible
) -> None:
    found = possible_time(PEAK, flop=flop, traffic_bytes=traffic_bytes)
    assert found is not None
    assert found.bound == possible.bound
    assert found.seconds == pytest.approx(possible.seconds)


def table(*rows: KernelTime) -> KernelTable:
    return KernelTable(rows=rows, end_to_end_s=1e-6, overhead_s=0.0)


def row(name: str, *, calls: int = 1, now_s: float = 1e-7) -> KernelTime:
    return KernelTime(name=name, calls=calls, now_s=now_s, share=0.5)


KERNELS = {
    "a": Kernel(outputs=(1,), flop=2000, traffic_bytes=500),
    "integers": Kernel(outputs=(1,), traffic_bytes=500),
    "gone": Kernel(outputs=(1,), flop=2000, traffic_bytes=500),
}


def test_each_kernel_gets_the_work_of_all_its_calls() -> None:
    found = with_work(
        table(
            row("a", calls=3, now_s=12e-8),
            row("integers", now_s=3e-8),
            row(BUILT_INS, now_s=3e-8),
            row("gone", calls=0, now_s=0.0),
        ),
        KERNELS,
        PEAK,
    )
    a, integers, built_ins, gone = found.rows
    assert (a.flop, a.traffic_bytes, a.bound) == (6000, 1500, "compute")
    # Each call's data fits into the cache, though that of three together doesn't.
    assert a.possible_s == pytest.approx(6e-8)
    assert a.roof_share == pytest.approx(0.5)
    assert a.flop_per_s == pytest.approx(5e10)
    assert a.bytes_per_s == pytest.approx(1.25e10)
    assert (integers.flop, integers.traffic_bytes) == (None, 500)
    assert integers.possible_s is integers.roof_share is integers.flop_per_s is None
    assert (built_ins.traffic_bytes, built_ins.bound, gone.flop) == (None, "", None)
    # Only of those whose work is known.
    assert found.roof_share == pytest.approx(0.5)
    assert found.peak == PEAK


def test_without_a_peak_there_is_the_work_alone() -> None:
    found = with_work(table(row("a")), KERNELS, None)
    assert (found.rows[0].flop, found.rows[0].possible_s) == (2000, None)
    assert found.roof_share is None
    assert found.peak is None


@pytest.mark.parametrize(
    ("flop", "traffic_bytes", "bound"),
    [(1000, 1000, ""), (20_000, 1000, "compute"), (1000, 1 << 28, "memory")],
)
def test_without_sizes_of_caches_small_data_may_be_in_one(
    flop: int, traffic_bytes: int, bound: str
) -> None:
    peak = replace(PEAK, bandwidths=PEAK.bandwidths[-1:])
    found = possible_time(peak, flop=flop, traffic_bytes=traffic_bytes)
    assert (found.bound if found else "") == bound


@pytest.mark.parametrize(
    ("unknown_s", "words"),
    [
        (0.0, "the kernels reach 20.0 % of the peak"),
        (4e-9, "the kernels reach 20.0 % of the peak"),
        (1e-7 / 3, "kernels with 75.0 % of the time reach 20.0 % of the peak"),
        # An int8 model: what its other kernels reach says nothing about it.
        (2e-7, ""),
    ],
)
def test_a_share_of_the_peak_says_of_how_much_of_the_time_it_is(
    unknown_s: float, words: str
) -> None:
    # What the VM does itself is in no share, and of `gone`, the instrument's cost was all.
    rows = (row("a"), row("integers", now_s=unknown_s), row(BUILT_INS), row("gone", now_s=0.0))
    found = with_work(table(*rows), KERNELS, PEAK)
    assert reached_words(found) == words
    assert (found.roof_share is None) == (not words)
