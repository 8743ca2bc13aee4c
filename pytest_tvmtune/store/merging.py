"""Merge other stores into one: records and samples, and the baselines and anchors it lacks.

The other parts of a store are made again, or belong to the machine that wrote them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from pytest_tvmtune.core.errors import StoreError, TvmTuneError
from pytest_tvmtune.store.accepted.baseline_files import accepted_files
from pytest_tvmtune.store.accepted.portable_baselines import add_baseline
from pytest_tvmtune.store.layout import Store
from pytest_tvmtune.store.tuning.records import merge
from pytest_tvmtune.store.tuning.samples import add_samples_of_file, sample_files
from pytest_tvmtune.store.tuning.workload_files import (
    check_workload_file,
    learn_workload,
    stored_keys,
    workload_path,
)


@dataclass(frozen=True, kw_only=True)
class MergedFile:
    """A file of the store. changed: whether the merge changed it."""

    path: Path
    changed: bool


@dataclass(frozen=True, kw_only=True)
class LeftOut:
    """A file of another store that isn't merged, and the reason."""

    path: Path
    reason: str


def merge_tuning(store: Store, others: Sequence[Store]) -> Iterator[MergedFile | LeftOut]:
    """Merge the tuning files of other stores into this store; yield each file once it's done.

    A file with any problem is left out as a whole, so that nothing in it is lost unseen.
    """
    for key, shash in sorted({found for other in others for found in stored_keys(other)}):
        known = []
        for other in others:
            path = workload_path(other, key, shash)
            try:
                workload, problem = check_workload_file(other, key, shash)
            except FileNotFoundError:
                continue
            except StoreError as error:
                workload, problem = None, str(error)
            if workload is None or problem:
                yield LeftOut(path=path, reason=problem)
            else:
                known.append(workload)
        if known:
            # All at once: which records are the best doesn't depend on the order of the stores.
            changed = learn_workload(store, key, merge(*known))
            yield MergedFile(path=workload_path(store, key, shash), changed=changed)


def merge_samples(store: Store, others: Sequence[Store]) -> Iterator[MergedFile | LeftOut]:
    """Add what the tuner's cost model learns from; yield each file once it's done."""
    for other in others:
        for source in sample_files(other):
            inside = source.relative_to(other.root)
            try:
                changed = add_samples_of_file(store, source, inside)
                yield MergedFile(path=store.root / inside, changed=changed)
            except (OSError, ValueError) as error:
                yield LeftOut(path=source, reason=str(error))


def merge_baselines(store: Store, others: Sequence[Store]) -> Iterator[MergedFile | LeftOut]:
    """Copy the baselines and anchors that this store doesn't have; yield each once it's done."""
    for other in others:
        for path in accepted_files(other):
            inside = path.relative_to(other.root)
            try:
                changed = add_baseline(store, other, inside)
                yield MergedFile(path=store.root / inside, changed=changed)
            except TvmTuneError as error:
                yield LeftOut(path=path, reason=str(error))
