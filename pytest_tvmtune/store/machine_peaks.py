"""The measured peaks of machines, in one JSON file. Damaged, it's made anew."""

from __future__ import annotations

import contextlib
from dataclasses import replace

from pytest_tvmtune.core.errors import StoreError
from pytest_tvmtune.core.json_codec import from_json_values, to_json_values
from pytest_tvmtune.core.kernels.roofline import MachinePeak
from pytest_tvmtune.store.atomic_files import load_json, write_json
from pytest_tvmtune.store.layout import Store
from pytest_tvmtune.store.locks import file_lock


def keep_peak(store: Store, key: str, peak: MachinePeak) -> MachinePeak:
    """Store the highest rates so far, and return them: load makes a machine slower, never faster.

    If they can't be stored, the next run has those that it measures itself.
    """
    with contextlib.suppress(StoreError), file_lock(store.lock("peaks")):
        peaks = _read(store)
        peak = _best(peak, peaks.get(key))
        write_json(store.peaks, to_json_values({**peaks, key: peak}))
    return peak


def _best(peak: MachinePeak, known: MachinePeak | None) -> MachinePeak:
    if known is None or _caches(known) != _caches(peak):
        return peak
    return replace(
        peak,
        flop_per_s=max(known.flop_per_s, peak.flop_per_s),
        bandwidths=tuple(
            max(pair, key=lambda one: one.bytes_per_s)
            for pair in zip(known.bandwidths, peak.bandwidths, strict=True)
        ),
    )


def _caches(peak: MachinePeak) -> list[tuple[str, int | None]]:
    return [(one.name, one.capacity_bytes) for one in peak.bandwidths]


def _read(store: Store) -> dict[str, MachinePeak]:
    try:
        return from_json_values(load_json(store.peaks.read_bytes()), dict[str, MachinePeak])
    except (OSError, ValueError):
        return {}
