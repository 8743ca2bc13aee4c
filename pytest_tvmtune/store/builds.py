"""Small JSON files that save work: the tasks of a module (plans) and which library it became.

Both are looked up by the SHA-256 of what they depend on, so they never need to be invalidated.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import warnings
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pytest_tvmtune.core.results import Task
from pytest_tvmtune.store.atomic import set_aside, write_json
from pytest_tvmtune.store.layout import Store


@dataclass(frozen=True, kw_only=True)
class Build:
    """What one compilation gave. library: SHA-256 of the artifact.

    applied: hashes of the workloads whose record was applied, each verified in the compiled
    module. compile_s: seconds, export included. ran_with: digests of the data (inputs and
    parameters) it has run with in a child; only with those it is run elsewhere.
    """

    library: str
    applied: tuple[str, ...]
    compile_s: float
    ran_with: tuple[str, ...] = ()


def key_of(parts: Any) -> str:
    """Return the SHA-256 of JSON values."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def read_plan(store: Store, key: str) -> list[Task] | None:
    """Return the tasks stored under `key`, or None."""
    loaded = _read(store.plans / f"{key}.json")
    try:
        return None if loaded is None else [Task(**task) for task in loaded["tasks"]]
    except (KeyError, TypeError) as error:
        _discard(store.plans / f"{key}.json", error)
        return None


def write_plan(store: Store, key: str, tasks: list[Task]) -> None:
    """Store the tasks of a module. Raises StoreError."""
    write_json(store.plans / f"{key}.json", {"tasks": [asdict(task) for task in tasks]})


def read_build(store: Store, key: str) -> Build | None:
    """Return the build stored under `key`, or None."""
    loaded = _read(store.builds / f"{key}.json")
    try:
        if loaded is None:
            return None
        return Build(
            **{
                **loaded,
                "applied": tuple(loaded["applied"]),
                "ran_with": tuple(loaded["ran_with"]),
            }
        )
    except (KeyError, TypeError) as error:
        _discard(store.builds / f"{key}.json", error)
        return None


def write_build(store: Store, key: str, build: Build) -> None:
    """Store which library a build gave. Raises StoreError."""
    write_json(store.builds / f"{key}.json", asdict(build))


def _read(path: Path) -> Any:
    try:
        return json.loads(path.read_bytes())
    except FileNotFoundError:
        return None
    except ValueError as error:
        _discard(path, error)
        return None


def _discard(path: Path, error: Exception) -> None:
    # Another process may have set it aside already, and told so.
    with contextlib.suppress(FileNotFoundError):
        warnings.warn(f"store: {set_aside(path, str(error))}", stacklevel=3)
