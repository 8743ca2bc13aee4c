"""Artifacts: kept once by their bytes, never served when damaged."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from pytest_tvmtune.core.errors import StoreError
from pytest_tvmtune.core.json_codec import from_json, to_json
from pytest_tvmtune.core.kernels.matching import Kernel
from pytest_tvmtune.core.tensors.signature import TensorSpec
from pytest_tvmtune.store.artifacts import (
    KERNELS,
    LIBRARY,
    MANIFEST,
    Artifact,
    EntryPoint,
    Manifest,
    find,
    has_kernels,
    publish,
    sha256_of,
    write_manifest,
)
from pytest_tvmtune.store.layout import Store

CODE = bytes(range(256)) * 20
MAIN = EntryPoint(
    arguments=(
        TensorSpec(name="x", shape=(1, 8), dtype="float32"),
        TensorSpec(name="scale", shape=(), dtype="int64"),
    ),
    transforms=True,
)
KNOWN = Manifest(
    target='{"kind": "llvm"}',
    tvm="0.27.0",
    tvm_ffi="0.1.14",
    entries={"main": MAIN, "other": EntryPoint(arguments=(), transforms=False)},
    kernels={"relu": Kernel(outputs=(1, 2), shash="ab", record="cd", code="ef")},
)
IR = b"the IR of its kernels"


def built(folder: Path, code: bytes = CODE, ir: bytes | None = None) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    library = folder / "lib.so"
    library.write_bytes(code)
    if ir is not None:
        (folder / KERNELS).write_bytes(ir)
    return library


@pytest.fixture
def artifact(store: Store, tmp_path: Path) -> Artifact:
    return publish(store, built(tmp_path / "scratch"), KNOWN)


def test_published_and_found_by_the_hash_of_its_bytes(store: Store, artifact: Artifact) -> None:
    assert artifact.sha256 == hashlib.sha256(CODE).hexdigest()
    assert artifact.library == store.artifacts / artifact.sha256 / LIBRARY
    assert artifact.library.read_bytes() == CODE
    assert find(store, artifact.sha256) == artifact


def test_the_manifest_survives_json_text() -> None:
    assert from_json(to_json(KNOWN), Manifest) == KNOWN


def test_the_same_bytes_are_kept_once_and_a_publish_heals_them(
    store: Store, artifact: Artifact, tmp_path: Path
) -> None:
    artifact.library.write_bytes(b"damaged")
    again = publish(store, built(tmp_path / "elsewhere"), KNOWN)
    assert again == artifact
    assert find(store, artifact.sha256) == artifact
    assert [path.name for path in store.artifacts.iterdir()] == [artifact.sha256]
    assert sorted(p.name for p in artifact.library.parent.iterdir()) == [MANIFEST, LIBRARY]


def test_a_library_that_another_machine_may_run_is_not_replaced(
    store: Store, artifact: Artifact, tmp_path: Path
) -> None:
    before = artifact.library.stat()
    again = tmp_path / "again.so"
    again.write_bytes(artifact.library.read_bytes())
    assert publish(store, again, artifact.manifest) == artifact
    assert artifact.library.stat().st_ino == before.st_ino


def test_other_bytes_are_another_artifact(store: Store, artifact: Artifact, tmp_path: Path) -> None:
    other = publish(store, built(tmp_path / "b", CODE + b"x"), replace(KNOWN, tvm="0.27.1"))
    assert other.sha256 != artifact.sha256
    assert find(store, artifact.sha256).manifest.tvm == "0.27.0"
    assert find(store, other.sha256).manifest.tvm == "0.27.1"


@pytest.mark.parametrize("position", [0, len(CODE) // 2, len(CODE) - 1])
def test_one_changed_byte_is_found(store: Store, artifact: Artifact, position: int) -> None:
    code = bytearray(CODE)
    code[position] ^= 1
    artifact.library.write_bytes(code)
    with pytest.raises(StoreError, match=rf"^artifact {artifact.sha256[:12]} is damaged"):
        find(store, artifact.sha256)


def test_one_byte_short_is_found(store: Store, artifact: Artifact) -> None:
    artifact.library.write_bytes(CODE[:-1])
    with pytest.raises(StoreError, match="is damaged"):
        find(store, artifact.sha256)


def test_missing(store: Store, artifact: Artifact) -> None:
    with pytest.raises(StoreError, match=r"^artifact 000000000000 is missing$"):
        find(store, "0" * 64)
    artifact.library.unlink()
    with pytest.raises(StoreError, match="is missing"):
        find(store, artifact.sha256)


@pytest.mark.parametrize(
    "content",
    ["", "{", "null", "[]", "{}", "5", '{"entries": []}', '{"entries": {"main": []}}',
     '{"entries": {"main": {"transforms": true, "arguments": [5]}}}',
     '{"entries": {}}', '{"entries": {}, "target": "", "tvm": "", "tvm_ffi": 5}',
     "\x00\x01"],
)  # fmt: skip
def test_a_damaged_manifest(store: Store, artifact: Artifact, content: str) -> None:
    (artifact.library.parent / MANIFEST).write_text(content)
    with pytest.raises(StoreError, match="its manifest is damaged"):
        find(store, artifact.sha256)


def test_a_missing_manifest(store: Store, artifact: Artifact) -> None:
    (artifact.library.parent / MANIFEST).unlink()
    with pytest.raises(StoreError, match="its manifest is damaged"):
        find(store, artifact.sha256)


FULL_DISK = """
import resource, sys
from pathlib import Path
from pytest_tvmtune.core.errors import StoreError
from pytest_tvmtune.store.artifacts import Manifest, publish
from pytest_tvmtune.store.layout import Store
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
try:
    publish(Store(root=Path(sys.argv[1])), Path(sys.argv[2]),
            Manifest(target="", tvm="", tvm_ffi="", entries={}))
except StoreError as error:
    print(error)
"""


def test_a_full_disk_is_one_message_and_leaves_nothing_behind(store: Store, tmp_path: Path) -> None:
    library = built(tmp_path / "scratch")
    done = subprocess.run(
        [sys.executable, "-c", FULL_DISK, str(store.root), str(library)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "can't write" in done.stdout
    assert "File too large" in done.stdout
    assert [path for path in store.artifacts.rglob("*") if path.is_file()] == []
    assert library.read_bytes() == CODE


def test_the_hash_of_more_than_one_chunk(tmp_path: Path) -> None:
    content = b"abc" * 1_000_000
    (tmp_path / "big").write_bytes(content)
    assert sha256_of(tmp_path / "big") == hashlib.sha256(content).hexdigest()


@pytest.fixture
def with_kernels(store: Store, tmp_path: Path) -> Artifact:
    return publish(store, built(tmp_path / "scratch", ir=IR), KNOWN)


def test_the_ir_of_its_kernels_is_published_beside_a_library(
    store: Store, with_kernels: Artifact
) -> None:
    assert with_kernels.kernels == with_kernels.library.with_name(KERNELS)
    assert with_kernels.kernels.read_bytes() == IR
    assert with_kernels.manifest == replace(KNOWN, kernels_sha256=hashlib.sha256(IR).hexdigest())
    assert find(store, with_kernels.sha256) == with_kernels
    assert has_kernels(with_kernels)
    folder = with_kernels.library.parent
    assert sorted(path.name for path in folder.iterdir()) == [KERNELS, MANIFEST, LIBRARY]


def test_a_library_is_found_without_its_kernels(store: Store, with_kernels: Artifact) -> None:
    with_kernels.kernels.unlink()
    assert find(store, with_kernels.sha256) == with_kernels
    assert not has_kernels(with_kernels)


def test_a_library_that_was_published_without_kernels(store: Store, artifact: Artifact) -> None:
    assert (artifact.manifest.kernels_sha256, has_kernels(artifact)) == ("", False)
    # What somebody put there isn't what was compiled.
    artifact.kernels.write_bytes(IR)
    assert not has_kernels(find(store, artifact.sha256))


@pytest.mark.parametrize("content", [b"", IR + b"x", b"x" + IR[1:]])
def test_changed_kernels_are_found_and_a_publish_heals_them(
    store: Store, with_kernels: Artifact, tmp_path: Path, content: bytes
) -> None:
    with_kernels.kernels.write_bytes(content)
    assert find(store, with_kernels.sha256) == with_kernels
    assert not has_kernels(with_kernels)
    assert publish(store, built(tmp_path / "again", ir=IR), KNOWN) == with_kernels
    assert has_kernels(with_kernels)


def test_a_publish_brings_the_kernels_that_a_baseline_came_without(
    store: Store, artifact: Artifact, tmp_path: Path
) -> None:
    again = publish(store, built(tmp_path / "again", ir=IR), KNOWN)
    assert again.sha256 == artifact.sha256
    assert has_kernels(find(store, artifact.sha256))


def test_with_a_key_nobody_else_can_tell_what_the_kernels_are(
    store: Store, tmp_path: Path, use_key: Callable[[str], None]
) -> None:
    use_key("ours")
    digest = publish(store, built(tmp_path / "scratch", ir=IR), KNOWN).sha256
    assert has_kernels(find(store, digest))
    use_key("theirs")
    write_manifest(store, digest, replace(KNOWN, kernels_sha256="ab" * 32))
    use_key("ours")
    with pytest.raises(StoreError, match="its manifest is damaged"):
        find(store, digest)
