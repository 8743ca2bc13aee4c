"""Baselines and anchors as one file: with their artifacts and records, for another store.

A zip file with the paths of the store. Everything in it is checked before anything is taken in.
"""

from __future__ import annotations

import hashlib
import io
import re
import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from pytest_tvmtune.core.errors import StoreError
from pytest_tvmtune.core.gating.accepted_baseline import Baseline
from pytest_tvmtune.store import artifacts
from pytest_tvmtune.store.accepted.baseline_files import (
    load_baseline,
    load_records,
    read_anchor,
    read_baseline,
    records_name,
    records_path,
)
from pytest_tvmtune.store.atomic_files import write_bytes
from pytest_tvmtune.store.layout import Store, open_store
from pytest_tvmtune.store.locks import file_lock

_NAMES = re.compile(
    r"baselines/[\w.-]+\.(json|records\.jsonl\.gz)|anchors/[\w.-]+\.json"
    r"|artifacts/[0-9a-f]{64}/(model\.so|manifest\.json)"
)
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
# The same content makes the same file.
_NO_TIME = (1980, 1, 1, 0, 0, 0)


def export_baselines(store: Store, baselines: Sequence[Baseline], path: Path) -> int:
    """Write baselines, their anchors, and all that these need to one file; return its bytes.

    Raises:
        StoreError: An artifact is missing or damaged, or the file can't be written.
    """
    needed: set[str] = set()
    for one in _files(store, baselines):
        try:
            baseline = load_baseline(one, one.read_bytes())
            for digest in baseline.libraries:
                artifacts.find(store, digest)
            if one.parent == store.baselines:
                records = records_path(store, one.name)
                load_records(records.name, records.read_bytes())
        except (StoreError, OSError, ValueError) as error:
            repair = "--tvm-update" if one.parent == store.baselines else "--tvm-update-anchor"
            raise StoreError(f"{one.name}: {error}; accept it again with {repair}") from error
        needed.update(_needed(one.relative_to(store.root).as_posix(), baseline))
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as file:
        for inside in sorted(needed):
            file.writestr(
                zipfile.ZipInfo(inside, _NO_TIME),
                (store.root / inside).read_bytes(),
                compress_type=zipfile.ZIP_DEFLATED,
            )
    write_bytes(path, content.getvalue())
    return len(content.getvalue())


def import_baselines(store: Store, path: Path) -> list[Baseline]:
    """Import the baselines and anchors of a file that `export_baselines` wrote.

    Returns:
        The baselines.

    Raises:
        StoreError: A part of the file is missing, damaged, or, with a key, not signed with it;
            nothing is imported.
    """
    try:
        with zipfile.ZipFile(path) as file:
            strange = [
                info.filename
                for info in file.infolist()
                if not _NAMES.fullmatch(info.filename) or info.compress_type not in _METHODS
            ]
            if strange:
                raise StoreError(f"{path} is not a file of baselines: it contains {strange[0]!r}")
            content = {name: file.read(name) for name in file.namelist()}
    # RuntimeError: encrypted, or of a later version of zip.
    except (OSError, zipfile.BadZipFile, zlib.error, EOFError, RuntimeError, ValueError) as error:
        raise StoreError(f"can't read {path}: {error}") from error
    try:
        names = [name for name in sorted(content) if _is_accepted(name)]
        accepted = {name: _checked(content, name) for name in names}
        needed = {part for name, one in accepted.items() for part in _needed(name, one)}
        baselines = [one for name, one in accepted.items() if not name.startswith("anchors/")]
        if not baselines:
            raise ValueError("it contains no baseline")
        if surplus := content.keys() - needed:
            raise ValueError(f"it contains {min(surplus)}, which no baseline in it needs")
    except (KeyError, ValueError, TypeError) as error:
        raise StoreError(f"{path}: {error}; nothing was imported") from error
    open_store(store.root)
    with file_lock(store.lock("baselines")):
        _write(store, content)
    return baselines


def add_baseline(store: Store, other: Store, file: Path) -> bool:
    """Copy a baseline or an anchor, and all it needs, from another store.

    Args:
        store: Where it is copied to.
        other: Where it is.
        file: Its path in either store.

    Returns:
        Whether this store lacked it.

    Raises:
        StoreError: Something that it needs is missing, damaged, or, with a key, not signed with
            it, or this store has another baseline of the case; nothing is copied.
        BaselineError: This store's baseline of the case is damaged.
    """
    inside = file.as_posix()
    is_anchor = file.parent.name == store.anchors.name
    try:
        needed = _needed(inside, load_baseline(file, (other.root / inside).read_bytes()))
        found = [path for path in needed if (other.root / path).is_file()]
        content = {path: (other.root / path).read_bytes() for path in found}
        baseline = _checked(content, inside)
    except (OSError, ValueError) as error:
        raise StoreError(str(error)) from error
    with file_lock(store.lock("baselines")):
        read = read_anchor if is_anchor else read_baseline
        known = read(store, baseline.identity)
        if known is not None and known != baseline:
            raise StoreError(
                f"{store.root} has another {'anchor' if is_anchor else 'baseline'} of this case; "
                "to replace it, use `tvmtune baselines export` and `tvmtune baselines import`"
            )
        lacking = [
            path
            for path in needed
            if not (store.root / path).is_file()
            or (known is None and not path.startswith("artifacts"))
        ]
        _write(store, {path: content[path] for path in lacking})
        return bool(lacking)


def _write(store: Store, content: dict[str, bytes]) -> None:
    # Baselines last, their records before them: none is ever without what it needs. Of an artifact,
    # its manifest last, as where it's published.
    def turn(name: str) -> tuple[bool, bool, str]:
        return _is_accepted(name), name.endswith(artifacts.MANIFEST), name

    for name in sorted(content, key=turn):
        write_bytes(store.root / name, content[name])


def _is_accepted(name: str) -> bool:
    return bool(re.fullmatch(r"(baselines|anchors)/.*\.json", name))


def _files(store: Store, baselines: Sequence[Baseline]) -> list[Path]:
    names = [baseline.identity.file_name for baseline in baselines]
    anchors = [store.anchors / name for name in names]
    return [*(store.baselines / name for name in names), *filter(Path.is_file, anchors)]


def _needed(inside: str, baseline: Baseline) -> list[str]:
    """Return the paths, from the store's root, of all files of a baseline or an anchor."""
    needed = [inside]
    if inside.startswith("baselines/"):
        needed.append(records_name(inside))
    for digest in baseline.libraries:
        needed += [f"artifacts/{digest}/{part}" for part in (artifacts.LIBRARY, artifacts.MANIFEST)]
    return needed


def _checked(content: dict[str, bytes], name: str) -> Baseline:
    """Return a baseline or anchor after checking all files that it needs. Raises ValueError."""
    path = PurePosixPath(name)
    baseline = load_baseline(path, content[name])
    if baseline.identity.file_name != path.name:
        raise ValueError(f"{name} belongs to {baseline.identity.file_name}")
    for digest in baseline.libraries:
        folder = f"artifacts/{digest}"
        library = content.get(f"{folder}/{artifacts.LIBRARY}")
        manifest = content.get(f"{folder}/{artifacts.MANIFEST}")
        if library is None or manifest is None:
            raise ValueError(f"{name}: artifact {digest[:12]} is missing")
        if hashlib.sha256(library).hexdigest() != digest:
            raise ValueError(f"{name}: artifact {digest[:12]} is damaged")
        artifacts.load_manifest(digest, manifest)
    if path.parent.name != "baselines":
        return baseline
    records = records_name(name)
    if records not in content:
        raise ValueError(f"{name}: its records are missing")
    load_records(PurePosixPath(records).name, content[records])
    return baseline
