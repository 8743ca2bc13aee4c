"""The files of tuning records: read from this store and its fallbacks, changed under a lock."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path

from pytest_tvmtune.store.atomic import set_aside, write_text
from pytest_tvmtune.store.layout import Store
from pytest_tvmtune.store.lines import dump, parse
from pytest_tvmtune.store.locks import folder_lock
from pytest_tvmtune.store.records import Record, Refused, Workload, merge

SUFFIX = ".jsonl"


def workload_path(store: Store, key: str, shash: str) -> Path:
    """Return where this store keeps a workload's file."""
    return store.tuning / key / f"{shash}{SUFFIX}"


def read_workload(store: Store, key: str, shash: str) -> Workload | None:
    """Return what this store and its fallbacks know of a workload, or None.

    A damaged file of this store is set aside, its valid lines kept; one of a fallback is left as
    it is. Either way one warning names it.
    """
    found = [_read_own(store, key, shash)]
    found += [_read_fallback(folder, key, shash) for folder in store.fallbacks]
    known = [workload for workload in found if workload is not None]
    return merge(*known) if len(known) > 1 else next(iter(known), None)


def add_to_workload(store: Store, key: str, workload: Workload) -> Workload:
    """Merge what `workload` knows into this store's file; return the whole.

    Safe under concurrent processes. Raises StoreError.
    """
    path = workload_path(store, key, workload.shash)
    with folder_lock(path.parent):
        stored = _read_repaired(path, key, workload.shash)
        # What is new says how it is called now, and what its IR is.
        merged = workload if stored is None else merge(workload, stored)
        if merged != stored:
            write_text(path, dump(key, merged))
        return merged


def refuse_records(
    store: Store, key: str, workload: Workload, records: Iterable[Record], reason: str
) -> None:
    """Note that records are never to be used again, as they don't apply or build."""
    lines = tuple(Refused(digest=record.digest, reason=reason) for record in records)
    add_to_workload(store, key, replace(workload, records=(), served=(), refused=lines))


def drop_workload(store: Store, key: str, shash: str, reason: str) -> bool:
    """Set this store's whole file aside, with a warning that names it; whether there was one."""
    path = workload_path(store, key, shash)
    with folder_lock(path.parent):
        if not path.is_file():
            return False
        told = set_aside(path, reason)
    warnings.warn(f"tuning store: {told}", stacklevel=2)
    return True


def stored_keys(store: Store) -> Iterator[tuple[str, str]]:
    """Yield (target key, hash) of every workload in this store, in order; fallbacks left out."""
    for path in sorted(store.tuning.glob(f"*/*{SUFFIX}")):
        yield path.parent.name, path.name.removesuffix(SUFFIX)


def check_file(store: Store, key: str, shash: str) -> tuple[Workload | None, str]:
    """Return what is in a file and what is wrong with it, changing nothing."""
    return parse(key, shash, workload_path(store, key, shash).read_bytes())


def _read_own(store: Store, key: str, shash: str) -> Workload | None:
    path = workload_path(store, key, shash)
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return None
    workload, problem = parse(key, shash, content)
    if problem:
        with folder_lock(path.parent):
            # Read again: another process may have repaired it, and added to it, meanwhile.
            return _read_repaired(path, key, shash)
    return workload


def _read_fallback(folder: Path, key: str, shash: str) -> Workload | None:
    path = workload_path(Store(root=folder), key, shash)
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        warnings.warn(f"tuning store: can't read {path}: {error.strerror}", stacklevel=3)
        return None
    workload, problem = parse(key, shash, content)
    if problem:
        warnings.warn(f"tuning store: {path} is damaged ({problem}); left out", stacklevel=3)
    return workload


def _read_repaired(path: Path, key: str, shash: str) -> Workload | None:
    """Return what is in a file, damage set aside. Whoever calls it holds the folder's lock."""
    if not path.is_file():
        return None
    workload, problem = parse(key, shash, path.read_bytes())
    if problem:
        told = set_aside(path, problem)
        if workload is not None:
            write_text(path, dump(key, workload))
        # Last: under filterwarnings=error it raises.
        warnings.warn(f"tuning store: {told}", stacklevel=4)
    return workload
