"""The files of tuning records: read from this store and its fallbacks, changed under a lock."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Iterable, Iterator
from dataclasses import replace
from functools import lru_cache
from pathlib import Path

from pytest_tvmtune.core.errors import StoreError
from pytest_tvmtune.store.atomic_files import set_aside, write_text
from pytest_tvmtune.store.layout import Store
from pytest_tvmtune.store.locks import folder_lock
from pytest_tvmtune.store.signing.signatures import signing_key
from pytest_tvmtune.store.tuning.record_lines import dump, parse
from pytest_tvmtune.store.tuning.records import Record, Refused, Workload, merge

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


def add_to_workload(
    store: Store, key: str, workload: Workload, *, own_ir: bool = False
) -> Workload:
    """Merge a workload into this store's file; return the whole.

    Safe under concurrent processes.

    Args:
        store: The store.
        key: The target key.
        workload: The records, ledger lines, and refusals to add.
        own_ir: Whether its IR is freshly made from a model, and replaces the stored IR. Otherwise,
            it's only for a new file.

    Raises:
        StoreError: The file can't be written.
    """
    path = workload_path(store, key, workload.shash)
    with folder_lock(path.parent):
        stored = _read_repaired(path, key, workload.shash)
        if stored is None:
            merged = workload
        else:
            merged = replace(
                merge(stored, workload),
                name=workload.name or stored.name,
                ir=workload.ir if own_ir else stored.ir,
            )
        if merged != stored:
            write_text(path, dump(key, merged))
        return merged


def learn_workload(store: Store, key: str, workload: Workload) -> bool:
    """Merge a workload from elsewhere into this store's file, whose name and IR stay.

    Returns:
        Whether that changed the file.

    Raises:
        StoreError: The file can't be read or written.
    """
    known = read_workload(store, key, workload.shash)
    name = known.name if known else workload.name
    return add_to_workload(store, key, replace(workload, name=name)) != known


def refuse_records(
    store: Store, key: str, workload: Workload, records: Iterable[Record], reason: str
) -> None:
    """Note that records must not be used again, because they don't apply or build."""
    lines = tuple(Refused(digest=record.digest, reason=reason) for record in records)
    add_to_workload(store, key, replace(workload, records=(), served=(), refused=lines))


def drop_workload(store: Store, key: str, shash: str, reason: str) -> bool:
    """Set this store's whole file aside, with a warning; return whether it existed."""
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


def newest_workloads(store: Store, key: str, most: int) -> Iterator[Workload]:
    """Yield the workloads of a target key that were written last, fallbacks included.

    It changes nothing: a file with a problem is left out, for those who need it.
    """
    written_ns: dict[Path, int] = {}
    for root in (store.root, *store.fallbacks):
        for path in (Store(root=root).tuning / key).glob(f"*{SUFFIX}"):
            with contextlib.suppress(OSError):
                written_ns[path] = path.stat().st_mtime_ns
    for path in sorted(written_ns, key=lambda path: (-written_ns[path], path))[:most]:
        with contextlib.suppress(FileNotFoundError, StoreError):
            workload, problem = _parse_file(path, key, path.name.removesuffix(SUFFIX))
            if workload is not None and not problem:
                yield workload


def check_workload_file(store: Store, key: str, shash: str) -> tuple[Workload | None, str]:
    """Return the content of a file and its problems, changing nothing."""
    return _parse_file(workload_path(store, key, shash), key, shash)


def file_version(path: Path) -> tuple[int, int, int]:
    """Return what differs between two versions of a file that is always replaced whole.

    Raises:
        OSError: There is no file.
    """
    now = path.stat()
    return now.st_ino, now.st_mtime_ns, now.st_size


def _parse_file(path: Path, key: str, shash: str) -> tuple[Workload | None, str]:
    """Return the content of a file and its problems. Raises FileNotFoundError, StoreError."""
    try:
        version = (*file_version(path), signing_key())
        return _parse_version(path, key, shash, version)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise StoreError(f"can't read {path}: {error.strerror or error}") from error


@lru_cache(maxsize=2048)
def _parse_version(
    path: Path,
    key: str,
    shash: str,
    version: tuple[int, int, int, bytes | None],  # noqa: ARG001  tells the cache
) -> tuple[Workload | None, str]:
    return parse(key, shash, path.read_bytes())


def _read_own(store: Store, key: str, shash: str) -> Workload | None:
    path = workload_path(store, key, shash)
    try:
        workload, problem = _parse_file(path, key, shash)
    except FileNotFoundError:
        return None
    if problem:
        with folder_lock(path.parent):
            # Read again: another process may have repaired it, and added to it, meanwhile.
            return _read_repaired(path, key, shash)
    return workload


def _read_fallback(folder: Path, key: str, shash: str) -> Workload | None:
    path = workload_path(Store(root=folder), key, shash)
    try:
        workload, problem = _parse_file(path, key, shash)
    except FileNotFoundError:
        return None
    except StoreError as error:
        warnings.warn(f"tuning store: {error}", stacklevel=3)
        return None
    if problem:
        warnings.warn(f"tuning store: {path} is damaged ({problem}) and is not used", stacklevel=3)
    return workload


def _read_repaired(path: Path, key: str, shash: str) -> Workload | None:
    """Return the content of a file, damage set aside. The caller holds the folder's lock."""
    if not path.is_file():
        return None
    workload, problem = _parse_file(path, key, shash)
    if problem:
        told = set_aside(path, problem)
        if workload is not None:
            write_text(path, dump(key, workload))
        # Last: under filterwarnings=error it raises.
        warnings.warn(f"tuning store: {told}", stacklevel=4)
    return workload
