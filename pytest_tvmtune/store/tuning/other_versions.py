"""Tuning records of the same target under other versions of TVM, in a store and its fallbacks."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from pytest_tvmtune.store.atomic_files import write_json
from pytest_tvmtune.store.layout import Store
from pytest_tvmtune.store.tuning.records import Workload, keys_of_other_versions, version_in_key
from pytest_tvmtune.store.tuning.workload_files import SUFFIX, read_workload


def workloads_of_other_versions(store: Store, key: str) -> Iterator[Workload]:
    """Yield the workloads with records that were measured under another version of TVM.

    Their records name that version as where they are replayed from.
    """
    pattern = f"tuning/{keys_of_other_versions(key)}/*{SUFFIX}"
    roots = (store.root, *store.fallbacks)
    found = {
        (path.parent.name, path.name.removesuffix(SUFFIX))
        for root in roots
        for path in root.glob(pattern)
    }
    for other, shash in sorted(found):
        if other == key:
            continue
        workload = read_workload(store, other, shash)
        if workload is not None and workload.records:
            yield as_replayed(workload, version_in_key(other))


def as_replayed(workload: Workload, source: str) -> Workload:
    """Return a workload whose records, those replayed themselves left out, come from a source."""
    return replace(
        workload,
        records=tuple(
            replace(record, replayed_from=source)
            for record in workload.records
            if not record.replayed_from
        ),
    )


def has_no_match(store: Store, key: str) -> bool:
    """Return whether a replay found no record for any task. key: of its tasks and records."""
    return _mark(store, key).is_file()


def note_no_match(store: Store, key: str) -> None:
    """Note that a replay found no record for any task. Raises StoreError."""
    write_json(_mark(store, key), {})


def _mark(store: Store, key: str) -> Path:
    return store.cached_outcomes / f"replay-{key}.json"
