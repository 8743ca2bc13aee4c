"""Where things are in the store, and opening it.

One folder, `.tvmtune` by default; its parts are listed in docs/reference/files.md.
"""

from __future__ import annotations

import contextlib
import os
import platform
import re
import shutil
from dataclasses import dataclass
from pathlib import Path

from pytest_tvmtune.core.clock import now_s
from pytest_tvmtune.core.errors import StoreError
from pytest_tvmtune.machine.mounts import kernel_id, mount_of
from pytest_tvmtune.store.atomic_files import write_text

_SCRATCH_AGE_S = 24 * 3600.0
_IN_USE_S = 24 * 3600.0
_CACHEDIR_TAG = (
    "Signature: 8a477f597d28d172789f06886806bc55\n"
    "# This folder holds the store of pytest-tvmtune.\n"
)
_GITIGNORE = (
    "# Commit baselines, anchors, and tuning records only. Other files are made again.\n"
    + "".join(
        f"{name}\n"
        for name in (
            "artifacts/",
            "builds/",
            "plans/",
            "samples/",
            "warm/",
            "locks/",
            "logs/",
            "reproducers/",
            "tmp/",
            "device-helpers/",
            "probes.json",
            "peaks.json",
            "digests.json",
            "vet/",
            "runs.sqlite*",
            "*.lock",
            "*.damaged",
        )
    )
)


@dataclass(frozen=True, kw_only=True)
class Store:
    """The paths of one store. fallbacks: roots of others, whose tuning records are read too."""

    root: Path
    fallbacks: tuple[Path, ...] = ()

    @property
    def tuning(self) -> Path:
        """One folder a target key, in it one file a workload."""
        return self.root / "tuning"

    @property
    def samples(self) -> Path:
        """Measured candidates that the tuner's cost model learns from, by target key."""
        return self.root / "samples"

    @property
    def plans(self) -> Path:
        """The tasks of each prepared module, so that a warm run prepares nothing."""
        return self.root / "plans"

    @property
    def cached_outcomes(self) -> Path:
        """What each case came to, so that a warm run reads no tuning file."""
        return self.root / "warm"

    @property
    def builds(self) -> Path:
        """Build key -> library."""
        return self.root / "builds"

    @property
    def artifacts(self) -> Path:
        """Libraries and their manifests, by SHA-256."""
        return self.root / "artifacts"

    @property
    def baselines(self) -> Path:
        """Accepted baselines."""
        return self.root / "baselines"

    @property
    def anchors(self) -> Path:
        """Baselines of an older version, to which slow changes add up."""
        return self.root / "anchors"

    @property
    def logs(self) -> Path:
        """What child processes printed."""
        return self.root / "logs"

    @property
    def reproducers(self) -> Path:
        """Folders that show a fault with tvm and numpy alone."""
        return self.root / "reproducers"

    def lock(self, name: str) -> Path:
        """Return the lock file for work that other processes could do, too."""
        return self.root / "locks" / f"{name}.lock"

    @property
    def machine(self) -> Path:
        """Which machine used the store last, if its locks may hold on one machine only."""
        return self.root / "locks" / "machine"

    @property
    def scratch(self) -> Path:
        """Folders of running children; each removes its own."""
        return self.root / "tmp"

    @property
    def device_helpers(self) -> Path:
        """The native helpers for devices behind TVM RPC, by compiler."""
        return self.root / "device-helpers"

    @property
    def runs(self) -> Path:
        """What the cases of each run came to."""
        return self.root / "runs.sqlite"

    @property
    def probes(self) -> Path:
        """What was found out about version pairs."""
        return self.root / "probes.json"

    @property
    def peaks(self) -> Path:
        """What machines can do at most, as it was measured."""
        return self.root / "peaks.json"

    @property
    def digests(self) -> Path:
        """The SHA-256 of files elsewhere, such as TVM's, by how they look."""
        return self.root / "digests.json"


def open_store(root: Path, fallbacks: tuple[Path, ...] = ()) -> Store:
    """Return the store at `root`, made if it isn't there.

    Args:
        root: Its folder.
        fallbacks: Folders of other stores, whose tuning records are read after its own.

    Raises:
        StoreError: `root` is a file or can't be written to, a fallback isn't a folder, or another
            machine uses the store without seeing its locks. The message has the remedy.
    """
    for fallback in fallbacks:
        if not fallback.is_dir():
            raise StoreError(
                f"--tvm-store-fallback: {fallback} is not a folder; give the folder of a store, "
                "which contains tuning/"
            )
    remedy = "give another folder with --tvm-dir (ini: tvm_dir)"
    try:
        if root.exists() and not root.is_dir():
            raise StoreError(f"--tvm-dir: {root} is a file, not a folder; {remedy}")
        root.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StoreError(f"--tvm-dir: can't create {root}: {error.strerror}; {remedy}") from error
    store = Store(root=root, fallbacks=fallbacks)
    for name, text in (("CACHEDIR.TAG", _CACHEDIR_TAG), (".gitignore", _GITIGNORE)):
        if not (root / name).is_file():
            try:
                write_text(root / name, text)
            except StoreError as error:
                raise StoreError(f"--tvm-dir: {error}; {remedy}") from error
    if not os.access(root, os.W_OK):
        raise StoreError(f"--tvm-dir: {root} is read-only; {remedy}")
    _refuse_other_machines(store)
    return store


def _refuse_other_machines(store: Store) -> None:
    """Raise StoreError if another machine, which doesn't see this machine's locks, uses the store.

    A machine leaves its name in the store, but only where locks may hold on one machine only.
    """
    mount = mount_of(store.root)
    if mount is None or not mount.local_locks:
        return
    boot, name = kernel_id(), platform.node()
    try:
        known_boot, known_name = store.machine.read_text().splitlines()
        age_s = now_s() - store.machine.stat().st_mtime
    except (OSError, ValueError):
        known_boot, known_name, age_s = boot, name, 0.0
    # A container has another name, and a machine that was started again another kernel.
    if known_boot != boot and known_name != name and age_s < _IN_USE_S:
        raise StoreError(
            f"{store.root} is on {mount.local_locks}, whose locks don't hold between machines, and "
            f"{known_name} used it in the last 24 hours; mount it with locks, or give each machine "
            "its own store with --tvm-dir and merge them with `tvmtune db merge`; if no other "
            f"machine uses it now, remove {store.machine}"
        )
    write_text(store.machine, f"{boot}\n{name}\n")


def sweep_scratch(store: Store) -> None:
    """Remove what killed processes left in the scratch folder more than a day ago."""
    oldest_s = now_s() - _SCRATCH_AGE_S
    for leftover in store.scratch.glob("*"):
        with contextlib.suppress(OSError):
            if leftover.stat().st_mtime < oldest_s:
                shutil.rmtree(leftover)


def slug(text: str, length: int = 60) -> str:
    """Return `text` as a file name: letters, digits, dots and dashes."""
    return re.sub(r"[^A-Za-z0-9_.]+", "-", text).strip("-.")[:length] or "model"
