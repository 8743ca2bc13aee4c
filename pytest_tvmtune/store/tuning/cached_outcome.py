"""The outcome of a case for unchanged tuning files, which a warm run then doesn't need to read.

There is one JSON file for each request. It holds the versions of the tuning files that it was made
from. If one of them has changed, the JSON file isn't used.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from pytest_tvmtune.core.json_codec import Sha256, from_json_values, to_json_values
from pytest_tvmtune.core.results.task_result import TaskResult
from pytest_tvmtune.store.atomic_files import load_json, write_json
from pytest_tvmtune.store.layout import Store
from pytest_tvmtune.store.signing.signatures import sign_json, verified_json
from pytest_tvmtune.store.tuning.workload_files import file_version, workload_path


@dataclass(frozen=True, kw_only=True)
class CachedOutcome:
    """A case as it was built. build: the key of its build. left_out: tasks without a trial."""

    build: Sha256
    tasks: tuple[TaskResult, ...]
    left_out: tuple[str, ...]


# Of each workload, of its file here and in each fallback; None: no file.
FileVersions = list[list[list[int] | None]]


def file_versions(store: Store, key: str, shashes: Iterable[str]) -> FileVersions:
    """Return the versions of these workloads' files."""
    places = [store, *(Store(root=folder) for folder in store.fallbacks)]
    return [[_version(workload_path(place, key, shash)) for place in places] for shash in shashes]


def _version(path: Path) -> list[int] | None:
    try:
        return list(file_version(path))
    except OSError:
        return None


def read_cached_outcome(store: Store, key: str, now: FileVersions) -> CachedOutcome | None:
    """Return what is known of a case whose files have these versions, or None.

    None also where a workload has no file: a baseline may have its records.
    """
    if not all(any(places) for places in now):
        return None
    path = store.cached_outcomes / f"{key}.json"
    try:
        loaded = verified_json(f"warm {key}", load_json(path.read_bytes()))
        if loaded["versions"] != now:
            return None
        with contextlib.suppress(OSError):
            os.utime(path)
        return from_json_values(loaded, CachedOutcome)
    except (OSError, ValueError, TypeError, KeyError):
        # Damaged or missing: it is made anew from what it was made from.
        return None


def write_cached_outcome(
    store: Store, key: str, now: FileVersions, cached_outcomes: CachedOutcome
) -> None:
    """Keep what a case came to. Raises StoreError."""
    values = {"versions": now, **to_json_values(cached_outcomes)}
    write_json(store.cached_outcomes / f"{key}.json", sign_json(f"warm {key}", values))
