"""Small JSON files that save work: the tasks of a module (plans) and which library it became.

Both are looked up by the SHA-256 of all that they depend on, so they never need to be invalidated.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, TypeVar

from msgspec import Meta

from pytest_tvmtune.core.json_codec import Count, Sha256, from_json_values, to_json_values
from pytest_tvmtune.core.results.latency_comparison import LatencyComparison
from pytest_tvmtune.core.results.task_result import Task
from pytest_tvmtune.store.atomic_files import load_json, set_aside, write_json
from pytest_tvmtune.store.layout import Store
from pytest_tvmtune.store.signing.signatures import sign_json, verified_json

_Kept = TypeVar("_Kept")


@dataclass(frozen=True, kw_only=True)
class Plan:
    """The tasks of a prepared module. model: what the case that found them was called.

    target_key: the folder of their tuning records.
    """

    model: str
    target_key: Annotated[str, Meta(pattern=r"^[\w.-]*\w\Z")]
    prepack: bool
    tasks: tuple[Task, ...]


@dataclass(frozen=True, kw_only=True)
class KeptComparison:
    """A build measured next to another build. on: all that this depends on but this library.

    comparison: without samples. attempts: how often it was measured.
    """

    name: str
    on: str
    comparison: LatencyComparison
    attempts: Count = 1


@dataclass(frozen=True, kw_only=True)
class KeptPeakMemory:
    """The resident memory of a call at its peak. on: all that it depends on but the library."""

    on: str
    size_bytes: Count


@dataclass(frozen=True, kw_only=True)
class Build:
    """The result of one compilation. library: SHA-256 of the artifact.

    applied: hashes of the workloads whose record was applied, each verified in the compiled
    module. compile_s: seconds, export included; 0 where the library came ready. compiled_on: the
    CPU model of the machine that compiled it, "" where that isn't known. ran_with: digests of the
    conditions (inputs, parameters, CPU model, versions) that it has run with in a child; it runs
    outside a child only with those.
    compared: how it compares in time with the untuned and the plain build, once that is measured.
    peak_memory: the memory of a call, once that is measured.
    """

    library: Sha256
    applied: tuple[str, ...]
    compile_s: float
    compiled_on: str = ""
    ran_with: tuple[str, ...] = ()
    compared: tuple[KeptComparison, ...] = ()
    peak_memory: KeptPeakMemory | None = None


def key_of(parts: Any) -> str:
    """Return the SHA-256 of JSON values."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def read_plan(store: Store, key: str) -> Plan | None:
    """Return the plan stored under `key`, or None; a damaged one is set aside."""
    return _or_discard(store.plans / f"{key}.json", load_plan)


def write_plan(store: Store, key: str, plan: Plan) -> None:
    """Store the tasks of a module. Raises StoreError."""
    write_json(store.plans / f"{key}.json", to_json_values(plan))


def load_plan(path: Path) -> Plan:
    """Return the plan in a file. Raises OSError, ValueError."""
    return from_json_values(_load(path), Plan)


def read_build(store: Store, key: str) -> Build | None:
    """Return the build stored under `key`, or None; a damaged one is set aside."""
    return _or_discard(store.builds / f"{key}.json", load_build)


def load_build(path: Path) -> Build:
    """Return the build in a file. Raises OSError, ValueError."""
    return build_of(verified_json(f"build {path.stem}", _load(path)))


def build_of(loaded: dict[str, Any]) -> Build:
    """Return the build in JSON values. Raises ValueError."""
    return from_json_values(loaded, Build)


def write_build(store: Store, key: str, build: Build) -> None:
    """Store which library a build gave. Raises StoreError."""
    write_json(store.builds / f"{key}.json", sign_json(f"build {key}", to_json_values(build)))


def _load(path: Path) -> dict[str, Any]:
    loaded = load_json(path.read_bytes())
    if not isinstance(loaded, dict):
        raise ValueError("not a JSON object")
    return loaded


def _or_discard(path: Path, load: Callable[[Path], _Kept]) -> _Kept | None:
    try:
        found = load(path)
        # Its file's time is when it was last used: what wasn't for long goes (`tvmtune gc`).
        with contextlib.suppress(OSError):
            os.utime(path)
        return found
    except FileNotFoundError:
        return None
    except ValueError as error:
        # Another process may have set it aside already, and told so.
        with contextlib.suppress(FileNotFoundError):
            warnings.warn(f"store: {set_aside(path, str(error))}", stacklevel=4)
        return None
