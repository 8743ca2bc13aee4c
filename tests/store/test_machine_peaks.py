"""Peaks of machines in the store."""

from __future__ import annotations

from dataclasses import replace

import pytest

from pytest_tvmtune.core.kernels.roofline import MachinePeak
from pytest_tvmtune.store.layout import Store
from pytest_tvmtune.store.machine_peaks import keep_peak
from tests.support.sample_report import PEAK


def slower(peak: MachinePeak, *, flop: float = 1.0, memory: float = 1.0) -> MachinePeak:
    *caches, last = peak.bandwidths
    last = replace(last, bytes_per_s=memory * last.bytes_per_s)
    return replace(peak, flop_per_s=flop * peak.flop_per_s, bandwidths=(*caches, last))


def test_the_highest_rates_are_kept_by_their_key(store: Store) -> None:
    other = replace(PEAK, num_threads=1)
    assert keep_peak(store, "a CPU, 2 threads", slower(PEAK, flop=0.5)) != PEAK
    assert keep_peak(store, "a CPU, 1 thread", other) == other
    # Load made one rate slower in one run, and another rate in the other.
    assert keep_peak(store, "a CPU, 2 threads", slower(PEAK, memory=0.5)) == PEAK
    assert keep_peak(store, "a CPU, 2 threads", slower(PEAK, flop=0.5, memory=0.5)) == PEAK
    assert keep_peak(store, "a CPU, 1 thread", slower(other, flop=0.1)) == other


def test_a_peak_of_other_caches_is_not_mixed_with_it(store: Store) -> None:
    l2, *others = PEAK.bandwidths
    larger = replace(l2, capacity_bytes=2 * (l2.capacity_bytes or 0))
    keep_peak(store, "a CPU", PEAK)
    other = slower(replace(PEAK, bandwidths=(larger, *others)), flop=0.5)
    assert keep_peak(store, "a CPU", other) == other


def test_a_store_that_cannot_be_written_gives_what_was_measured(store: Store) -> None:
    store.peaks.mkdir()
    assert keep_peak(store, "a CPU", PEAK) == PEAK


@pytest.mark.parametrize("text", ["", "[]", '{"a CPU": {"flop_per_s": -1}}'])
def test_a_damaged_file_is_made_anew(store: Store, text: str) -> None:
    store.peaks.write_text(text)
    assert keep_peak(store, "a CPU", PEAK) == PEAK
    assert keep_peak(store, "a CPU", slower(PEAK, flop=0.5)) == PEAK
