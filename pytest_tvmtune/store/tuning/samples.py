"""What the tuner's cost model learns from: features and times of the candidates that ran.

One file for each workload and machine, in NumPy's format. The times of a file are compared with
each other alone. A lost or damaged file loses what was learnt, and no record: it's replaced.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import zipfile
import zlib
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


def machine_of(cpu: str, num_threads: int) -> str:
    """Return what the times of samples depend on."""
    return f"{cpu}, {num_threads} threads"


def samples_path(store: Store, key: str, shash: str, machine: str) -> Path:
    """Return where this store keeps the samples of a workload.

    machine: as `machine_of` returns it.
    """
    digest = hashlib.sha256(machine.encode()).hexdigest()[:12]
    return store.samples / key / digest / f"{shash}{SUFFIX}"


def add_samples(store: Store, key: str, machine: str, new: Samples) -> None:
    """Add samples to this store, which keeps the newest.

    Raises:
        StoreError: The file can't be written.
    """
    path = samples_path(store, key, new.shash, machine)
    with folder_lock(path.parent):
        _write(path, [*_read(path), new])
        for old in _newest_first(path.parent)[MOST_FILES:]:
            old.unlink(missing_ok=True)


def add_samples_of_file(store: Store, source: Path, inside: Path) -> bool:
    """Add the samples in a file of another store; return whether that changed this store's file.

    inside: the path of the file within its store.

    Raises:
        StoreError: It can't be written.
        ValueError: The other file isn't sound.
    """
    found, path = load_samples(source), store.root / inside
    with folder_lock(path.parent):
        # This store's own are the newest: whoever merges goes on with it.
        return _write(path, [found, *_read(path)])


def _write(path: Path, parts: Sequence[Samples]) -> bool:
    """Write the newest samples of several parts, of which the last is the newest.

    Returns:
        Whether there is any that the file didn't have.
    """
    import numpy as np

    # Two calls never take the same time to the last bit, so this is each sample once.
    every = {
        run_s: features
        for part in parts
        for features, run_s in zip(part.features, part.run_s, strict=True)
    }
    kept = list(every.items())[-MOST_SAMPLES:]
    known = {run_s for part in _read(path) for run_s in part.run_s}
    if known.issuperset(run_s for run_s, _ in kept):
        return False
    content = io.BytesIO()
    np.savez_compressed(
        content,
        features=np.concatenate([features for _, features in kept]),
        rows=np.array([len(features) for _, features in kept]),
        run_s=np.array([run_s for run_s, _ in kept]),
    )
    write_bytes(path, content.getvalue())
    return True


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
    except (KeyError, EOFError, zipfile.BadZipFile, zlib.error) as error:
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
