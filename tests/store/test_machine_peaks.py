"""Peaks of machines in the store."""

from __future__ import annotations

from dataclasses import replace

import pytest

from pytest_tvmtune.store.layout import Store
from pytest_tvmtune.store.machine_peaks import read_peak, write_peak
from tests.support.sample_report import PEAK


def test_a_peak_is_kept_by_its_key(store: Store) -> None:
    assert read_peak(store, "a CPU, 2 threads") is None
    other = replace(PEAK, num_threads=1)
    write_peak(store, "a CPU, 2 threads", PEAK)
    write_peak(store, "a CPU, 1 thread", other)
    assert read_peak(store, "a CPU, 2 threads") == PEAK
    assert read_peak(store, "a CPU, 1 thread") == other


@pytest.mark.parametrize("text", ["", "[]", '{"a CPU": {"flop_per_s": -1}}'])
def test_a_damaged_file_is_made_anew(store: Store, text: str) -> None:
    store.peaks.write_text(text)
    assert read_peak(store, "a CPU") is None
    write_peak(store, "a CPU", PEAK)
    assert read_peak(store, "a CPU") == PEAK
