"""Sign the content of a store, which you trust, with the key of this environment."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from pytest_tvmtune.core.errors import StoreError
from pytest_tvmtune.core.gating.accepted_baseline import baseline_of
from pytest_tvmtune.core.json_codec import from_json_values
from pytest_tvmtune.store.accepted.baseline_files import (
    RECORDS_SUFFIX,
    accepted_files,
    load_records,
    records_path,
    signed_name,
    write_records,
)
from pytest_tvmtune.store.artifacts import LIBRARY, MANIFEST, Manifest, sha256_of, write_manifest
from pytest_tvmtune.store.atomic_files import load_json, write_json, write_text
from pytest_tvmtune.store.builds import build_of, write_build
from pytest_tvmtune.store.layout import Store
from pytest_tvmtune.store.locks import folder_lock
from pytest_tvmtune.store.signing.signatures import (
    KEY_VARIABLE,
    sign_json,
    signing_key,
    without_signature,
)
from pytest_tvmtune.store.tuning.record_lines import dump, parse
from pytest_tvmtune.store.tuning.workload_files import stored_keys, workload_path


def sign_store(store: Store) -> tuple[int, list[str]]:
    """Sign every valid file that needs a signature.

    Returns:
        The number of signed files, and the files that were left out, with the reasons.

    Raises:
        StoreError: There is no key.
    """
    if signing_key() is None:
        raise StoreError(f"no key is set; set the environment variable {KEY_VARIABLE}")
    done, left_out = 0, []
    for path, sign in _jobs(store):
        try:
            sign(store, path)
            done += 1
        except (StoreError, OSError, ValueError, AttributeError) as error:
            left_out.append(f"{path}: {error}")
    return done, left_out


def _jobs(store: Store) -> list[tuple[Path, Callable[[Store, Path], None]]]:
    jobs: list[tuple[Path, Callable[[Store, Path], None]]] = []
    jobs += [
        (workload_path(store, key, shash), _sign_workload) for key, shash in stored_keys(store)
    ]
    jobs += [(path, _sign_build) for path in sorted(store.builds.glob("*.json"))]
    # Not of those that were set aside.
    folders = sorted(path for path in store.artifacts.glob("*") if not path.suffix)
    jobs += [(path / MANIFEST, _sign_manifest) for path in folders]
    for path in accepted_files(store):
        if path.parent == store.baselines and (kept := records_path(store, path.name)).is_file():
            jobs.append((kept, _sign_records))
        jobs.append((path, _sign_baseline))
    return jobs


def _sign_workload(_store: Store, path: Path) -> None:
    key, shash = path.parent.name, path.stem
    with folder_lock(path.parent):
        workload, problem = parse(key, shash, path.read_bytes(), check_signature=False)
        if workload is None or problem:
            raise ValueError(problem)
        write_text(path, dump(key, workload))


def _sign_build(store: Store, path: Path) -> None:
    write_build(store, path.stem, build_of(_unsigned(path)))


def _sign_manifest(store: Store, path: Path) -> None:
    digest = path.parent.name
    manifest = from_json_values(_unsigned(path), Manifest)
    if sha256_of(path.with_name(LIBRARY)) != digest:
        raise ValueError("its library is damaged")
    write_manifest(store, digest, manifest)


def _sign_records(store: Store, path: Path) -> None:
    known = load_records(path.name, path.read_bytes(), check_signature=False)
    write_records(store, path.name.removesuffix(RECORDS_SUFFIX) + ".json", known)


def _sign_baseline(_store: Store, path: Path) -> None:
    values = _unsigned(path)
    name = baseline_of(values).identity.file_name
    if name != path.name:
        raise ValueError(f"it belongs to {name}")
    write_json(path, sign_json(signed_name(path), values))


def _unsigned(path: Path) -> dict[str, Any]:
    return without_signature(load_json(path.read_bytes()))
