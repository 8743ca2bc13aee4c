"""Artifacts: the compiled library, its manifest and its kernels' IR.

They are in a folder named by the library's SHA-256. The IR is only for the search for a fault.
Nothing else needs it, and a baseline from elsewhere comes without it.
"""

from __future__ import annotations

import contextlib
import hashlib
import shutil
from dataclasses import dataclass, field, replace
from pathlib import Path

from pytest_tvmtune.core.errors import StoreError
from pytest_tvmtune.core.json_codec import from_json_values, to_json_values
from pytest_tvmtune.core.kernels.matching import Kernel
from pytest_tvmtune.core.tensors.signature import TensorSpec
from pytest_tvmtune.store.atomic_files import load_json, write_json
from pytest_tvmtune.store.layout import Store
from pytest_tvmtune.store.signing.signatures import sign_json, verified_json

LIBRARY = "model.so"
MANIFEST = "manifest.json"
KERNELS = "kernels.json.gz"


@dataclass(frozen=True, kw_only=True)
class EntryPoint:
    """A compiled entry function as it must be called.

    arguments: runtime inputs, then parameters; with `transforms` the latter come from
    `<entry>_transform_params`, which takes one sequence of all original parameters. None where the
    library came ready and doesn't say. workspace_bytes: the most memory that tensors between
    kernels, and outputs, need at once. kernel_calls: how many kernels a call calls. Both are None
    where that is not known before it runs.
    """

    arguments: tuple[TensorSpec, ...] | None
    transforms: bool
    workspace_bytes: int | None = None
    kernel_calls: int | None = None


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """What is known of a library without loading it.

    kernels_sha256: of the file with its kernels' IR, which becomes native code when a fault is
    looked for: signed with the manifest, as the library is. "" where there was none.
    toolchain: the identity of the TVM and the compiler that made it, "" where that is not known.
    """

    target: str
    tvm: str
    tvm_ffi: str
    entries: dict[str, EntryPoint]
    kernels: dict[str, Kernel] = field(default_factory=dict)
    kernels_sha256: str = ""
    toolchain: str = ""


@dataclass(frozen=True, kw_only=True)
class Artifact:
    """A library in the store."""

    sha256: str
    library: Path
    manifest: Manifest

    @property
    def kernels(self) -> Path:
        """The IR of its kernels; only if it was compiled here."""
        return self.library.with_name(KERNELS)


def publish(store: Store, library: Path, manifest: Manifest) -> Artifact:
    """Move a freshly exported library into the store; the same bytes are kept once.

    If the IR of its kernels is next to the library, it's copied, too.
    """
    digest = sha256_of(library)
    folder = store.artifacts / digest
    kernels = library.with_name(KERNELS)
    if kernels.exists():
        _copy(kernels, folder / KERNELS)
        manifest = replace(manifest, kernels_sha256=sha256_of(kernels))
    # NFS 3 takes a replaced file away from a machine that runs it, which ends with SIGBUS.
    if not (folder / LIBRARY).is_file() or sha256_of(folder / LIBRARY) != digest:
        _copy(library, folder / LIBRARY)
    write_manifest(store, digest, manifest)
    return Artifact(sha256=digest, library=folder / LIBRARY, manifest=manifest)


def has_kernels(artifact: Artifact) -> bool:
    """Whether the IR of its kernels exists, and matches the manifest. Raises OSError."""
    path = artifact.kernels
    return path.is_file() and sha256_of(path) == artifact.manifest.kernels_sha256


def _copy(source: Path, place: Path) -> None:
    # Beside its place first: the scratch folder may be on another file system.
    beside = place.with_name(f".{source.parent.name}-{place.name}")
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(source, beside)
        beside.replace(place)
    except OSError as error:
        with contextlib.suppress(OSError):
            beside.unlink(missing_ok=True)
        raise StoreError(f"can't write {place.parent}: {error.strerror or error}") from error


def write_manifest(store: Store, digest: str, manifest: Manifest) -> None:
    """Put a manifest next to the library `digest`. Raises StoreError."""
    signed = sign_json(f"manifest {digest}", to_json_values(manifest))
    write_json(store.artifacts / digest / MANIFEST, signed)


def find(store: Store, digest: str) -> Artifact:
    """Return an artifact after checking its bytes.

    Args:
        store: The store.
        digest: The SHA-256 of its library.

    Raises:
        StoreError: It is missing or damaged; the message is one line.
    """
    folder = store.artifacts / digest
    library = folder / LIBRARY
    if not library.is_file():
        raise StoreError(f"artifact {digest[:12]} is missing")
    if sha256_of(library) != digest:
        raise StoreError(f"artifact {digest[:12]} is damaged (its bytes have another SHA-256)")
    try:
        manifest = load_manifest(digest, (folder / MANIFEST).read_bytes())
    except (OSError, ValueError) as error:
        raise StoreError(f"artifact {digest[:12]}: its manifest is damaged ({error})") from error
    return Artifact(sha256=digest, library=library, manifest=manifest)


def load_manifest(digest: str, content: bytes) -> Manifest:
    """Return the manifest in the file next to the library `digest`. Raises ValueError."""
    # The library's hash is signed with it.
    values = verified_json(f"manifest {digest}", load_json(content))
    try:
        return from_json_values(values, Manifest)
    except ValueError as error:
        raise ValueError(f"not a manifest: {error}") from None


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file's bytes."""
    with path.open("rb") as file:
        digest = hashlib.sha256()
        while chunk := file.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()
