"""Accepted baselines: a JSON file for each case, next to the tuning records of its artifact.

An anchor is a baseline, too, in a separate folder and without records.
"""

from __future__ import annotations

import contextlib
import gzip
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePath

from pytest_tvmtune.core.errors import BaselineError
from pytest_tvmtune.core.gating.accepted_baseline import Baseline, baseline_of, plain_baseline
from pytest_tvmtune.core.gating.case_identity import Identity
from pytest_tvmtune.store.atomic_files import load_json, write_bytes, write_json
from pytest_tvmtune.store.layout import Store
from pytest_tvmtune.store.locks import file_lock
from pytest_tvmtune.store.signing.signatures import sign_json, verified_json
from pytest_tvmtune.store.tuning.record_lines import body, check_lines, load_line, parse, sign_lines
from pytest_tvmtune.store.tuning.records import Workload

RECORDS_SUFFIX = ".records.jsonl.gz"


def read_baseline(store: Store, identity: Identity) -> Baseline | None:
    """Return the accepted baseline of a case, or None when there is none.

    Raises:
        BaselineError: Its file is damaged or belongs to another case.
    """
    return _read(store.baselines / identity.file_name, identity)


def read_anchor(store: Store, identity: Identity) -> Baseline | None:
    """Return the anchor of a case, or None when there is none. Raises as `read_baseline`."""
    return _read(store.anchors / identity.file_name, identity)


def _read(path: Path, identity: Identity) -> Baseline | None:
    try:
        baseline = load_baseline(path, path.read_bytes())
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise BaselineError(f"{path}: {error}") from error
    if baseline.identity != identity:
        raise BaselineError(f"{path} belongs to another case: {baseline.identity}")
    return baseline


def accepted_files(store: Store) -> list[Path]:
    """Return the files of all baselines, then those of all anchors."""
    return [*sorted(store.baselines.glob("*.json")), *sorted(store.anchors.glob("*.json"))]


def load_baseline(path: PurePath, content: bytes) -> Baseline:
    """Return the baseline or anchor in the content of a file. Raises ValueError."""
    return baseline_of(verified_json(signed_name(path), load_json(content)))


def signed_name(path: PurePath) -> str:
    """Return the name that the signature of a baseline or anchor is for."""
    return f"{path.parent.name.removesuffix('s')} {path.name}"


def write_baseline(
    store: Store, baseline: Baseline, records: Sequence[tuple[str, Workload]]
) -> None:
    """Accept a baseline.

    Args:
        store: The store.
        baseline: The baseline.
        records: (target key, workload) of those in it.

    Raises:
        StoreError: It can't be written.
    """
    name = baseline.identity.file_name
    with file_lock(store.lock("baselines")):
        # The records first: a baseline is never without them.
        write_records(store, name, records)
        _write(store.baselines / name, baseline)


def write_anchor(store: Store, baseline: Baseline) -> None:
    """Accept a baseline as the anchor of its case. Raises StoreError."""
    with file_lock(store.lock("baselines")):
        _write(store.anchors / baseline.identity.file_name, baseline)


def _write(path: Path, baseline: Baseline) -> None:
    write_json(path, sign_json(signed_name(path), plain_baseline(baseline)))


def write_records(store: Store, name: str, records: Sequence[tuple[str, Workload]]) -> None:
    """Write the records of the baseline with this file name. Raises StoreError."""
    text = "".join(body(key, workload) for key, workload in records)
    path = records_path(store, name)
    # mtime: the same bytes every time.
    write_bytes(path, gzip.compress(sign_lines(f"records {path.name}", text).encode(), mtime=0))


def records_path(store: Store, name: str) -> Path:
    """Return where the records of the baseline with this file name are."""
    return store.baselines / records_name(name)


def records_name(name: str) -> str:
    """Return the name of the file of records next to the baseline with this file name."""
    return f"{name.removesuffix('.json')}{RECORDS_SUFFIX}"


def read_records(store: Store, identity: Identity) -> list[tuple[str, Workload]]:
    """Return (target key, workload) of the records that a case's baseline keeps.

    Raises:
        BaselineError: A file is damaged or, with a key, not signed by it.
    """
    return _read_records(records_path(store, identity.file_name))


def all_records(store: Store) -> Iterator[tuple[str, Workload]]:
    """Yield (target key, workload) of the records that all baselines keep.

    A file that is damaged, or that the key didn't sign, is left out: its own case reports it.
    """
    for path in sorted(store.baselines.glob(f"*{RECORDS_SUFFIX}")):
        with contextlib.suppress(BaselineError):
            yield from _read_records(path)


def _read_records(path: Path) -> list[tuple[str, Workload]]:
    try:
        return load_records(path.name, path.read_bytes())
    except FileNotFoundError:
        return []
    except (OSError, ValueError) as error:
        raise BaselineError(f"{path}: {error}") from error


def load_records(
    name: str, content: bytes, *, check_signature: bool = True
) -> list[tuple[str, Workload]]:
    """Return (target key, workload) from the content of the file `name`. Raises ValueError."""
    try:
        text = gzip.decompress(content) if content else None
    except (OSError, EOFError, zlib.error) as error:
        raise ValueError(f"not a gzip file: {error}") from None
    if text is None:
        raise ValueError("not a gzip file: it is empty")
    if check_signature:
        check_lines(f"records {name}", text)
    groups: list[tuple[str, str, list[bytes]]] = []
    for number, line in enumerate(text.splitlines(keepends=True), start=1):
        row = load_line(line)
        kind = row.get("kind") if isinstance(row, dict) else None
        if kind == "workload":
            groups.append((str(row.get("key")), str(row.get("shash")), []))
        if groups:
            groups[-1][2].append(line)
        elif kind != "signature":
            raise ValueError(f"line {number}: no workload comes before it")
    found = []
    for key, shash, own in groups:
        workload, problem = parse(key, shash, b"".join(own), check_signature=False)
        if workload is None or problem:
            raise ValueError(f"{shash}: {problem}")
        found.append((key, workload))
    return found
