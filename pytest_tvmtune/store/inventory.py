"""What is in a store, and whether all of it is sound: for `tvmtune db`."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from pytest_tvmtune.core.errors import BaselineError, StoreError
from pytest_tvmtune.store import artifacts, builds
from pytest_tvmtune.store.accepted.baseline_files import (
    accepted_files,
    load_baseline,
    read_records,
    records_path,
)
from pytest_tvmtune.store.atomic_files import set_aside
from pytest_tvmtune.store.layout import Store
from pytest_tvmtune.store.run_history import history_problem
from pytest_tvmtune.store.tuning.records import Workload
from pytest_tvmtune.store.tuning.samples import load_samples, sample_files
from pytest_tvmtune.store.tuning.workload_files import (
    SUFFIX,
    check_workload_file,
    read_workload,
    stored_keys,
    workload_path,
)


@dataclass(kw_only=True)
class TargetStats:
    """The content of one target's folder. trials, valid: spent in all, with any result."""

    key: str
    workloads: int = 0
    tuned: int = 0
    records: int = 0
    trials: int = 0
    valid: int = 0
    size_bytes: int = 0
    cpus: set[str] = field(default_factory=set)


@dataclass(frozen=True, kw_only=True)
class StoreProblem:
    """A file that isn't sound. repairable: setting it aside loses nothing that could be used."""

    path: Path
    what: str
    repairable: bool = True


def target_stats(store: Store) -> list[TargetStats]:
    """Return the counts of each target's folder, by key."""
    found: dict[str, TargetStats] = {}
    for key, shash in stored_keys(store):
        stats = found.setdefault(key, TargetStats(key=key))
        workload, _ = check_workload_file(store, key, shash)
        stats.workloads += 1
        stats.size_bytes += workload_path(store, key, shash).stat().st_size
        if workload is not None:
            stats.tuned += bool(workload.records)
            stats.records += len(workload.records)
            stats.trials += workload.spent
            stats.valid += workload.valid
            stats.cpus |= {record.cpu for record in workload.records}
    return list(found.values())


def known_plans(store: Store) -> list[builds.Plan]:
    """Return the sound plans, by model, target and prepack: which model has which tasks."""
    found = []
    for path in store.plans.glob("*.json"):
        with contextlib.suppress(OSError, ValueError):
            found.append(builds.load_plan(path))
    return sorted(found, key=lambda plan: (plan.model, plan.target_key, plan.prepack))


def find_workloads(store: Store, text: str) -> list[tuple[str, Workload]]:
    """Return (target key, workload) of those whose hash begins with `text` or that it names."""
    found = []
    for key, shash in stored_keys(store):
        workload, _ = check_workload_file(store, key, shash)
        if workload is not None and (shash.startswith(text) or workload.name == text):
            found.append((key, workload))
    return found


def problems(store: Store) -> Iterator[StoreProblem]:
    """Yield every file of the store that isn't sound, changing nothing."""
    for key, shash in stored_keys(store):
        _, what = check_workload_file(store, key, shash)
        if what:
            yield StoreProblem(path=workload_path(store, key, shash), what=what)
    for paths, load in (
        (sorted(store.plans.glob("*.json")), builds.load_plan),
        (sorted(store.builds.glob("*.json")), builds.load_build),
        (sample_files(store), load_samples),
    ):
        for path in paths:
            try:
                load(path)
            except (OSError, ValueError) as error:
                yield StoreProblem(path=path, what=str(error))
    yield from _artifact_problems(store)
    if what := history_problem(store):
        yield StoreProblem(path=store.runs, what=what)
    for path in accepted_files(store):
        try:
            baseline = load_baseline(path, path.read_bytes())
            if baseline.identity.file_name != path.name:
                raise ValueError(f"it belongs to {baseline.identity.file_name}")
            for digest in baseline.libraries:
                artifacts.find(store, digest)
            if path.parent == store.anchors:
                continue
            if not records_path(store, path.name).is_file():
                raise ValueError("its records are missing")
            read_records(store, baseline.identity)
        except (OSError, ValueError, StoreError, BaselineError) as error:
            yield StoreProblem(path=path, what=str(error), repairable=False)


def _artifact_problems(store: Store) -> Iterator[StoreProblem]:
    for folder in sorted(path for path in store.artifacts.glob("*") if not _is_aside(path)):
        if not (folder / artifacts.MANIFEST).is_file():
            continue  # it's written last: another process is at it, or was killed
        try:
            artifact = artifacts.find(store, folder.name)
        except StoreError as error:
            yield StoreProblem(path=folder, what=str(error))
            continue
        if artifact.kernels.is_file() and not artifacts.has_kernels(artifact):
            yield StoreProblem(
                path=artifact.kernels, what="its manifest has the digest of other bytes"
            )


def repair(store: Store, problem: StoreProblem) -> None:
    """Set a damaged file aside, with its valid lines kept where it is one of tuning records."""
    if problem.path.is_relative_to(store.tuning):
        with warnings.catch_warnings():
            # Whoever repairs it tells it.
            warnings.simplefilter("ignore")
            shash = problem.path.name.removesuffix(SUFFIX)
            read_workload(store, problem.path.parent.name, shash)
    elif problem.repairable:
        set_aside(problem.path, problem.what)


def _is_aside(path: Path) -> bool:
    return path.name.endswith(".damaged")
