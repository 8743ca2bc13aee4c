"""What may go from a store: old content, and tuning records that are no longer needed."""

from __future__ import annotations

import contextlib
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from pytest_tvmtune.core.clock import now_s
from pytest_tvmtune.core.errors import StoreError
from pytest_tvmtune.store import builds
from pytest_tvmtune.store.accepted.baseline_files import accepted_files, load_baseline
from pytest_tvmtune.store.atomic_files import write_text
from pytest_tvmtune.store.inventory import known_plans
from pytest_tvmtune.store.layout import Store
from pytest_tvmtune.store.locks import folder_lock
from pytest_tvmtune.store.tuning.record_lines import dump
from pytest_tvmtune.store.tuning.records import keep_best
from pytest_tvmtune.store.tuning.samples import sample_files
from pytest_tvmtune.store.tuning.workload_files import (
    check_workload_file,
    stored_keys,
    workload_path,
)


@dataclass(frozen=True, kw_only=True)
class Removal:
    """A file or folder to remove, the reason, and the number of bytes that this frees."""

    path: Path
    why: str
    size_bytes: int

    def carry_out(self) -> None:
        """Remove it; it may be gone already."""
        with contextlib.suppress(FileNotFoundError):
            if self.path.is_dir():
                shutil.rmtree(self.path)
            else:
                self.path.unlink()


def _needed_artifacts(store: Store) -> set[str]:
    needed = set()
    for path in accepted_files(store):
        try:
            needed |= set(load_baseline(path, path.read_bytes()).libraries)
        except (OSError, ValueError) as error:
            raise StoreError(
                f"{path} is damaged ({error}), so its libraries are unknown; "
                "restore or remove it first"
            ) from None
    return needed


def old_artifacts(store: Store, *, before_s: float, max_bytes: int | None) -> list[Removal]:
    """Return the artifacts, builds, plans, samples, and reproducers to remove, the oldest first.

    All that a baseline or an anchor needs stays.

    Args:
        store: The store.
        before_s: Removes files that were last used, and samples and reproducers that were written,
            before this time, in seconds since 1970.
        max_bytes: Then removes the least recently used, until all artifacts fit into this size.

    Raises:
        StoreError: A baseline can't be read, so that its needs are unknown.
    """
    needed = _needed_artifacts(store)
    used_s = {folder: _mtime_s(folder) for folder in store.artifacts.glob("*")}
    entries: dict[Path, list[Path]] = {}
    for path in store.builds.glob("*.json"):
        with contextlib.suppress(OSError, ValueError):
            folder = store.artifacts / builds.load_build(path).library
            entries.setdefault(folder, []).append(path)
            used_s[folder] = max(used_s.get(folder, 0.0), _mtime_s(path))
    sizes = {folder: _size(folder) for folder in used_s}
    total = sum(sizes.values())
    removals: list[Removal] = []
    for folder in sorted(used_s, key=lambda folder: used_s[folder]):
        if folder.name in needed:
            continue
        old = used_s[folder] < before_s
        if not old and (max_bytes is None or total <= max_bytes):
            continue
        last_used = time.strftime("%Y-%m-%d", time.localtime(used_s[folder]))
        why = f"last used {last_used}" if old else f"to save space, last used {last_used}"
        total -= sizes[folder]
        # The library last: until then its entries find it, or don't.
        gone = [*entries.get(folder, ()), *([folder] if folder.exists() else [])]
        removals += [Removal(path=path, why=why, size_bytes=_size(path)) for path in gone]
    plans = (*store.plans.glob("*.json"), *store.cached_outcomes.glob("*.json"))
    for what, paths in (
        ("plan", plans),
        ("sample file", sample_files(store)),
        ("reproducer", store.reproducers.glob("*")),
    ):
        for path in paths:
            if _mtime_s(path) < before_s:
                removals.append(Removal(path=path, why=f"old {what}", size_bytes=_size(path)))
    return removals


def unneeded_workloads(
    store: Store, *, before_s: float | None, unreferenced: bool, keep_minor: str | None
) -> Iterator[Removal]:
    """Yield the files of tuning records to remove.

    Args:
        store: The store.
        before_s: Removes files last tuned before this time, in seconds since 1970.
        unreferenced: Whether files whose task is in no stored plan are removed.
        keep_minor: Removes files of other minor versions of TVM, whose hashes never match.
    """
    referenced = {
        (plan.target_key, task.shash) for plan in known_plans(store) for task in plan.tasks
    }
    for key, shash in stored_keys(store):
        path = workload_path(store, key, shash)
        workload, _ = check_workload_file(store, key, shash)
        # What was taken in from elsewhere has no ledger, so nobody knows its age.
        times_s = [line.at_s for line in workload.served] if workload else []
        if keep_minor is not None and f"-tvm{keep_minor}-" not in key:
            why = f"made by another version than TVM {keep_minor}"
        elif unreferenced and (key, shash) not in referenced:
            why = "no stored plan has its task"
        elif before_s is not None and times_s and max(times_s) < before_s:
            why = "tuned before the given time"
        else:
            continue
        yield Removal(path=path, why=why, size_bytes=_size(path))


def thin_records(store: Store, keep: int, *, dry_run: bool) -> int:
    """Keep only the `keep` best records of each CPU in every workload; return how many are lost."""
    dropped = 0
    for key, shash in stored_keys(store):
        path = workload_path(store, key, shash)
        with folder_lock(path.parent):
            workload, problem = check_workload_file(store, key, shash)
            if workload is None or problem:
                continue
            kept = keep_best(workload.records, keep)
            dropped += len(workload.records) - len(kept)
            if len(kept) != len(workload.records) and not dry_run:
                write_text(path, dump(key, replace(workload, records=kept)))
    return dropped


def _mtime_s(path: Path) -> float:
    """Return when a file was written last; the present time if it no longer exists."""
    try:
        return path.stat().st_mtime
    except FileNotFoundError:
        return now_s()


def _size(path: Path) -> int:
    try:
        if path.is_dir():
            return sum(_size(one) for one in path.iterdir())
        return path.stat().st_size
    except FileNotFoundError:
        return 0
