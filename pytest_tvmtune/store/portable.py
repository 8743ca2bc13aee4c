"""Baselines as one file: with their artifacts and records, to be carried to another store.

A zip file with the paths of the store. Everything in it is checked before anything is taken in.
"""

from __future__ import annotations

import hashlib
import io
import json
import re
import zipfile
from collections.abc import Sequence
from pathlib import Path

from pytest_tvmtune.core.baseline import Baseline
from pytest_tvmtune.core.errors import StoreError
from pytest_tvmtune.store import artifacts
from pytest_tvmtune.store.atomic import write_bytes
from pytest_tvmtune.store.baselines import load_baseline, load_records, records_path
from pytest_tvmtune.store.layout import Store

_NAMES = re.compile(
    r"baselines/[\w.-]+\.(json|records\.jsonl\.gz)|artifacts/[0-9a-f]{64}/(model\.so|manifest\.json)"
)
# The same content makes the same file.
_NO_TIME = (1980, 1, 1, 0, 0, 0)


def export_baselines(store: Store, baselines: Sequence[Baseline], path: Path) -> int:
    """Write baselines with all they need to one file; return its size in bytes.

    Raises StoreError when an artifact is missing or damaged, or the file can't be written.
    """
    wanted: dict[str, Path] = {}
    for baseline in baselines:
        name = baseline.identity.file_name
        for digest in (baseline.artifact, baseline.untuned):
            try:
                library = artifacts.find(store, digest).library
            except StoreError as error:
                raise StoreError(f"{name}: {error}; accept it again with --tvm-update") from error
            folder = f"artifacts/{digest}"
            wanted[f"{folder}/{artifacts.LIBRARY}"] = library
            wanted[f"{folder}/{artifacts.MANIFEST}"] = library.with_name(artifacts.MANIFEST)
        wanted[f"baselines/{name}"] = store.baselines / name
        records = records_path(store, name)
        if records.is_file():
            wanted[f"baselines/{records.name}"] = records
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as file:
        for inside in sorted(wanted):
            file.writestr(
                zipfile.ZipInfo(inside, _NO_TIME),
                wanted[inside].read_bytes(),
                compress_type=zipfile.ZIP_DEFLATED,
            )
    write_bytes(path, content.getvalue())
    return len(content.getvalue())


def import_baselines(store: Store, path: Path) -> list[Baseline]:
    """Take in the baselines of a file that `export_baselines` wrote; return them.

    Raises StoreError, and takes in nothing, when anything in it is missing, damaged or, with a
    key, not signed by it.
    """
    try:
        with zipfile.ZipFile(path) as file:
            strange = [name for name in file.namelist() if not _NAMES.fullmatch(name)]
            if strange:
                raise StoreError(f"{path} is no file of baselines: {strange[0]!r} is in it")
            content = {name: file.read(name) for name in file.namelist()}
    except (OSError, zipfile.BadZipFile) as error:
        raise StoreError(f"can't read {path}: {error}") from error
    try:
        baselines = [
            _checked(content, name)
            for name in sorted(content)
            if name.startswith("baselines/") and name.endswith(".json")
        ]
    except (KeyError, ValueError, TypeError) as error:
        raise StoreError(f"{path}: {error}; nothing was taken in") from error
    # Baselines last: none is ever without its artifact.
    for name in sorted(content):
        write_bytes(store.root / name, content[name])
    return baselines


def _checked(content: dict[str, bytes], name: str) -> Baseline:
    """Return a baseline, all that it needs being there and sound. Raises KeyError, ValueError."""
    own_name = Path(name).name
    baseline = load_baseline(own_name, content[name])
    if baseline.identity.file_name != own_name:
        raise ValueError(f"{name} belongs to {baseline.identity.file_name}")
    for digest in (baseline.artifact, baseline.untuned):
        folder = f"artifacts/{digest}"
        library = content.get(f"{folder}/{artifacts.LIBRARY}")
        if library is None:
            raise ValueError(f"{name}: artifact {digest[:12]} is not in it")
        if hashlib.sha256(library).hexdigest() != digest:
            raise ValueError(f"{name}: artifact {digest[:12]} is damaged")
        manifest = content.get(f"{folder}/{artifacts.MANIFEST}", b"")
        artifacts.load_manifest(digest, json.loads(manifest))
    records = content.get(f"{name.removesuffix('.json')}.records.jsonl.gz")
    if records is not None:
        list(load_records(records))
    return baseline
