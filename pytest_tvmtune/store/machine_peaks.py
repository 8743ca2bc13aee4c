"""The measured peaks of machines, in one JSON file. Damaged, it's made anew."""

from __future__ import annotations

import contextlib

from pytest_tvmtune.core.errors import StoreError
from pytest_tvmtune.core.json_codec import from_json_values, to_json_values
from pytest_tvmtune.core.kernels.roofline import MachinePeak
from pytest_tvmtune.store.atomic_files import load_json, write_json
from pytest_tvmtune.store.layout import Store


def read_peak(store: Store, key: str) -> MachinePeak | None:
    """Return the peak that is stored under a key, None if there is none."""
    return _read(store).get(key)


def write_peak(store: Store, key: str, peak: MachinePeak) -> None:
    """Store a peak. If that isn't possible, each run measures it."""
    with contextlib.suppress(StoreError):
        write_json(store.peaks, to_json_values({**_read(store), key: peak}))


def _read(store: Store) -> dict[str, MachinePeak]:
    try:
        return from_json_values(load_json(store.peaks.read_bytes()), dict[str, MachinePeak])
    except (OSError, ValueError):
        return {}
