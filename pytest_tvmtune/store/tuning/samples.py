"""What the tuner's cost model learns from: features and times of the candidates that ran.

One file for each workload and machine, in NumPy's format. The times of a file are compared with
each other alone. A lost or damaged file loses what was learnt, and no record: it's replaced.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytest_tvmtune.store.atomic_files import write_bytes
from pytest_tvmtune.store.layout import Store
from pytest_tvmtune.store.locks import folder_lock

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, np.dtype[Any]]

SUFFIX = ".npz"
# Of a file, the newest; of a target key, the files written last. A file has some 10 kB.
MOST_SAMPLES = 128
MOST_FILES = 512


@dataclass(frozen=True, kw_only=True, eq=False)
class Samples:
    """Candidates of one workload that ran on one machine.

    features: of each candidate, an array of (statements that store, features). run_s: the seconds
    of a call of each.
    """

    shash: str
    features: tuple[Array, ...]
    run_s: tuple[float, ...]


def machine_of(cpu: str, num_threads: int, environment: str) -> str:
    """Return what samples depend on: times on the machine, features on the build of TVM.

    environment: TVM and the compiler, by content.
    """
    return f"{cpu}, {num_threads} threads, {environment}"


def samples_path(store: Store, key: str, shash: str, machine: str) -> Path:
    """Return where this store keeps the samples of a workload.

    machine: as `machine_of` returns it.
    """
    digest = hashlib.sha256(machine.encode()).hexdigest()[:12]
    return store.samples / key / digest / f"{shash}{SUFFIX}"


def sample_files(store: Store) -> list[Path]:
    """Return this store's files of samples, of all targets and machines, in order."""
    return sorted(store.samples.glob(f"*/*/*{SUFFIX}"))


def add_samples(store: Store, key: str, machine: str, new: Samples) -> None:
    """Add samples to this store, which keeps the newest.

    Raises:
        StoreError: The file can't be written.
    """
    _keep_from_git(store)
    path = samples_path(store, key, new.shash, machine)
    with folder_lock(path.parent):
        _write(path, [*_read(path), new])
        _prune(path.parent)


def add_samples_of_file(store: Store, source: Path, inside: Path) -> bool:
    """Add the samples in a file of another store; return whether that changed this store's file.

    inside: the path of the file within its store.

    Raises:
        StoreError: It can't be written.
        ValueError: The other file isn't sound.
    """
    found, path = load_samples(source), store.root / inside
    _keep_from_git(store)
    with folder_lock(path.parent):
        own = _read(path)
        known = {_identity(one) for part in own for one in _each(part)}
        changed = not known.issuperset(map(_identity, _each(found)))
        if changed:
            # This store's own are the newest: whoever merges goes on with it.
            _write(path, [found, *own])
            _prune(path.parent)
        return changed


def _keep_from_git(store: Store) -> None:
    # The store's .gitignore may be older than this folder.
    ignored = store.samples / ".gitignore"
    if not ignored.is_file():
        write_bytes(ignored, b"*\n")


def _each(part: Samples) -> Iterator[tuple[Array, float]]:
    return zip(part.features, part.run_s, strict=True)


def _identity(sample: tuple[Array, float]) -> tuple[float, bytes]:
    features, run_s = sample
    return run_s, features.tobytes()


def _write(path: Path, parts: Sequence[Samples]) -> None:
    """Write the newest samples of several parts, each once; the last part is the newest."""
    import numpy as np

    every = {_identity(one): one for part in parts for one in _each(part)}
    kept = list(every.values())[-MOST_SAMPLES:]
    content = io.BytesIO()
    np.savez_compressed(
        content,
        features=np.concatenate([features for features, _ in kept]),
        rows=np.array([len(features) for features, _ in kept]),
        run_s=np.array([run_s for _, run_s in kept]),
    )
    write_bytes(path, content.getvalue())


def _prune(folder: Path) -> None:
    for old in _newest_first(folder)[MOST_FILES:]:
        old.unlink(missing_ok=True)


def stored_samples(store: Store, key: str, machine: str, most: int) -> Iterator[Samples]:
    """Yield what this store and its fallbacks have for a machine, the newest first.

    most: about how many candidates.
    """
    for root in (store.root, *store.fallbacks):
        for path in _newest_first(samples_path(Store(root=root), key, "", machine).parent):
            for found in _read(path):
                if most <= 0:
                    return
                most -= len(found.run_s)
                yield found


def _newest_first(folder: Path) -> list[Path]:
    written_s = {}
    for path in folder.glob(f"*{SUFFIX}"):
        with contextlib.suppress(FileNotFoundError):
            written_s[path] = path.stat().st_mtime_ns
    return sorted(written_s, key=lambda path: (-written_s[path], path))


def _read(path: Path) -> list[Samples]:
    """Return what is in a file, nothing where it isn't there or isn't sound."""
    try:
        return [load_samples(path)]
    except (OSError, ValueError):
        return []


def load_samples(path: Path) -> Samples:
    """Return the samples in a file. Raises OSError, ValueError."""
    import numpy as np

    try:
        # From memory: of a damaged file, NumPy leaves the file open.
        with np.load(io.BytesIO(path.read_bytes()), allow_pickle=False) as arrays:
            features, rows, run_s = (arrays[name] for name in ("features", "rows", "run_s"))
    except (OSError, MemoryError):
        raise
    except Exception as error:  # noqa: BLE001  a damaged zip file raises half a dozen types
        raise ValueError(f"not a file of samples: {error}") from None
    if not (
        features.ndim == 2
        and features.dtype == np.float32
        and rows.ndim == run_s.ndim == 1
        and 0 < len(rows) == len(run_s)
        and bool((rows > 0).all())
        and int(rows.sum()) == len(features)
        and bool(np.isfinite(features).all())
        and bool((np.isfinite(run_s) & (run_s > 0)).all())
    ):
        raise ValueError("its arrays don't fit together")
    return Samples(
        shash=path.name.removesuffix(SUFFIX),
        features=tuple(np.split(features, np.cumsum(rows)[:-1])),
        run_s=tuple(map(float, run_s)),
    )
