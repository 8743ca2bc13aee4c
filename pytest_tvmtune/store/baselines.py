"""Accepted baselines: one JSON file a case, and beside it the tuning records of its artifact."""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path

from pytest_tvmtune.core.baseline import Baseline, Identity
from pytest_tvmtune.core.errors import BaselineError
from pytest_tvmtune.store.atomic import write_bytes, write_json
from pytest_tvmtune.store.layout import Store
from pytest_tvmtune.store.lines import dump, load_line, parse
from pytest_tvmtune.store.records import Workload
from pytest_tvmtune.store.signing import check_json, sign_json

RECORDS_SUFFIX = ".records.jsonl.gz"


def read_baseline(store: Store, identity: Identity) -> Baseline | None:
    """Return the accepted baseline of a case, or None when there is none.

    Raises BaselineError when its file is damaged or belongs to another case.
    """
    path = store.baselines / identity.file_name
    try:
        baseline = load_baseline(path.name, path.read_bytes())
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise BaselineError(f"{path}: {error}") from error
    if baseline.identity != identity:
        raise BaselineError(f"{path} belongs to another case: {baseline.identity}")
    return baseline


def load_baseline(name: str, content: bytes) -> Baseline:
    """Return the baseline in the content of the file `name`. Raises ValueError."""
    return Baseline.from_json(check_json(f"baseline {name}", json.loads(content)))


def write_baseline(
    store: Store, baseline: Baseline, records: Sequence[tuple[str, Workload]]
) -> None:
    """Accept a baseline. records: (target key, workload) of those in it. Raises StoreError."""
    name = baseline.identity.file_name
    # The records first: a baseline is never without them.
    write_records(store, name, records)
    write_json(store.baselines / name, sign_json(f"baseline {name}", baseline.to_json()))


def write_records(store: Store, name: str, records: Sequence[tuple[str, Workload]]) -> None:
    """Write the records of the baseline with this file name. Raises StoreError."""
    text = "".join(dump(key, workload) for key, workload in records)
    # mtime: the same bytes every time.
    write_bytes(records_path(store, name), gzip.compress(text.encode(), mtime=0))


def records_path(store: Store, name: str) -> Path:
    """Return where the records of the baseline with this file name are."""
    return store.baselines / f"{name.removesuffix('.json')}{RECORDS_SUFFIX}"


def read_records(store: Store, identity: Identity) -> list[tuple[str, Workload]]:
    """Return (target key, workload) of the records that a case's baseline keeps.

    None of a damaged or unsigned workload. Raises BaselineError for a file that can't be read.
    """
    path = records_path(store, identity.file_name)
    try:
        return list(load_records(path.read_bytes()))
    except FileNotFoundError:
        return []
    except (OSError, ValueError) as error:
        raise BaselineError(f"{path}: {error}") from error


def load_records(content: bytes, *, check_signature: bool = True) -> Iterator[tuple[str, Workload]]:
    """Yield (target key, workload) from a file's content. Raises ValueError."""
    try:
        lines = gzip.decompress(content).splitlines(keepends=True)
    except (OSError, EOFError, zlib.error) as error:
        raise ValueError(f"no gzip file: {error}") from None
    groups: list[tuple[str, str, list[bytes]]] = []
    for line in lines:
        row = load_line(line)
        if isinstance(row, dict) and row.get("kind") == "workload":
            groups.append((str(row.get("key")), str(row.get("shash")), []))
        if groups:
            groups[-1][2].append(line)
    for key, shash, own in groups:
        workload, problem = parse(key, shash, b"".join(own), check_signature=check_signature)
        if problem:
            raise ValueError(f"{shash}: {problem}")
        if workload is not None:
            yield key, workload
