"""With a key only what it signed is used, nothing else is lost; without one all is as ever."""

from __future__ import annotations

import gzip
import shutil

import pytest

from pytest_tvmtune.core.errors import BaselineError, StoreError
from pytest_tvmtune.store.accepted.baseline_files import read_records, records_path, write_baseline
from pytest_tvmtune.store.artifacts import Artifact, find
from pytest_tvmtune.store.layout import Store
from pytest_tvmtune.store.signing.signatures import KEY_VARIABLE, sign_json, signature
from pytest_tvmtune.store.tuning.workload_files import add_to_workload
from tests.store.sample_signed import (
    DIGEST,
    KINDS,
    KNOWN,
    OTHER,
    OTHER_CASE,
    OTHERS,
    UNSIGNED,
    Kind,
    UseKey,
    assert_refused,
    refusal_of,
    text_of,
    write_text_of,
)
from tests.support.sample_records import HEAD, KEY, RECORD, SHASH, path_of, record, workload
from tests.support.sample_store import (
    IDENTITY,
    MANIFEST,
    baseline,
    contents,
    put_artifact,
    put_baseline,
)


def test_a_signature_is_hmac_sha256_of_kind_name_and_content(use_key: UseKey) -> None:
    assert signature("build x", b"{}") is None
    # printf 'build x\n{}' | openssl dgst -sha256 -hmac secret
    use_key("secret")
    assert signature("build x", b"{}") == (
        "9f75b03a9e716e67912e064c581ae3a70f5abfcc7c2d20f17fea39294e21ffc0"
    )
    # printf 'build x\n{"a": 1, "b": [true, null]}' | openssl dgst -sha256 -hmac grüße
    use_key("grüße")
    assert sign_json("build x", {"b": [True, None], "a": 1})["hmac"] == (
        "7310980de7ce18907361a0f9dbf6772d05496760e28315c021b1d61742d3fd67"
    )


def test_kinds_names_contents_and_keys_all_tell_signatures_apart(use_key: UseKey) -> None:
    given = set()
    for key in ("k", "k ", "K"):
        use_key(key)
        for what in ("build x", "warm x", "build y", "build"):
            given |= {signature(what, content) for content in (b"", b"\n", b"{}", b"{} ")}
    assert len(given) == 3 * 4 * 4
    assert None not in given


@pytest.mark.parametrize("key", ["", "ours"])
def test_what_was_written_is_read(store: Store, kind: Kind, use_key: UseKey, key: str) -> None:
    use_key(key)
    kind.put(store)
    assert refusal_of(kind.read, store, kind.written) == ""
    # Without a key nothing is signed: such files are as they always were.
    assert (b'"hmac"' in text_of(kind.path(store))) == bool(key)
    assert key.encode() not in text_of(kind.path(store)) or not key


def test_what_is_signed_is_read_without_a_key_and_not_touched(
    store: Store, kind: Kind, use_key: UseKey
) -> None:
    use_key("ours")
    kind.put(store)
    before = contents(store.root)
    use_key("")
    assert refusal_of(kind.read, store, kind.written) == ""
    assert contents(store.root) == before
    use_key("ours")
    assert refusal_of(kind.read, store, kind.written) == ""


def test_what_is_unsigned_is_refused_with_a_key(store: Store, kind: Kind, use_key: UseKey) -> None:
    kind.put(store)
    # Read before: what is in memory is no more trusted than the file.
    assert refusal_of(kind.read, store, kind.written) == ""
    use_key("ours")
    assert_refused(kind, store, UNSIGNED)


def test_what_another_key_signed_is_refused(store: Store, kind: Kind, use_key: UseKey) -> None:
    use_key("theirs")
    kind.put(store)
    assert refusal_of(kind.read, store, kind.written) == ""
    use_key("ours")
    assert_refused(kind, store, OTHERS)


def test_what_was_refused_is_written_anew_and_then_read(
    store: Store, kind: Kind, use_key: UseKey
) -> None:
    kind.put(store)
    use_key("ours")
    assert refusal_of(kind.read, store, kind.written) != ""
    kind.put(store)
    assert refusal_of(kind.read, store, kind.written) == ""


EVERY_BYTE = [
    *(name for name in KINDS if name != "records"),
    "records",
]


def signed_length(text: bytes) -> int:
    """Return how many bytes of a file count, the name of a signature line's kind left out."""
    return text.find(b', "kind": "signature"') if b'"signature"}' in text else len(text)


@pytest.mark.parametrize("name", EVERY_BYTE)
def test_every_changed_byte_is_refused(store: Store, use_key: UseKey, name: str) -> None:
    use_key("ours")
    kind = KINDS[name]
    kind.put(store)
    path = kind.path(store)
    good = text_of(path)
    for position in range(signed_length(good)):
        changed = bytearray(good)
        # Another letter, another case, no UTF-8.
        changed[position] ^= (1, 0x20, 0x80)[position % 3]
        write_text_of(path, bytes(changed))
        assert refusal_of(kind.read, store, kind.written), f"byte {position}: {bytes(changed)!r}"
        for aside in path.parent.glob("*.damaged"):
            aside.unlink()
    write_text_of(path, good)
    assert refusal_of(kind.read, store, kind.written) == ""


@pytest.mark.parametrize("name", EVERY_BYTE)
def test_every_truncation_is_refused(store: Store, use_key: UseKey, name: str) -> None:
    use_key("ours")
    kind = KINDS[name]
    kind.put(store)
    path = kind.path(store)
    good = text_of(path).rstrip(b"\n")
    for length in range(1, len(good), 3):
        write_text_of(path, good[:length])
        assert refusal_of(kind.read, store, kind.written), f"{length} of {len(good)} bytes"
        for aside in path.parent.glob("*.damaged"):
            aside.unlink()


def test_every_changed_byte_of_the_packed_records_is_refused_or_changes_nothing(
    store: Store, use_key: UseKey
) -> None:
    use_key("ours")
    kind = KINDS["records"]
    kind.put(store)
    path = kind.path(store)
    good = path.read_bytes()
    read = 0
    for position in range(len(good)):
        changed = bytearray(good)
        changed[position] ^= 1
        path.write_bytes(changed)
        read += refusal_of(kind.read, store, kind.written) == ""
    # gzip's time, the system it was made on and the like.
    assert read < 10


@pytest.mark.parametrize("name", [name for name in KINDS if name != "records"])
def test_a_signed_file_copied_to_another_name_is_refused(
    store: Store, use_key: UseKey, name: str
) -> None:
    kind = KINDS[name]
    use_key("ours")
    kind.put(store)
    copy = kind.copy(store)
    shutil.copy(kind.path(store), copy)
    said = refusal_of(kind.elsewhere, store, None)
    assert (OTHERS in said) or (name == "warm" and said)
    assert refusal_of(kind.read, store, kind.written) == ""


def test_signed_records_copied_to_another_baseline_are_refused(
    store: Store, use_key: UseKey
) -> None:
    kind = KINDS["records"]
    use_key("ours")
    kind.put(store)
    shutil.copy(kind.path(store), kind.copy(store))
    with pytest.raises(BaselineError):
        read_records(store, OTHER_CASE)


def test_a_signed_tuning_file_is_no_baselines_records(store: Store, use_key: UseKey) -> None:
    use_key("ours")
    put_baseline(store, "ab" * 32)
    add_to_workload(store, KEY, workload(record(9.0, "slow")))
    path = records_path(store, IDENTITY.file_name)
    path.write_bytes(gzip.compress(path_of(store).read_bytes()))
    with pytest.raises(BaselineError):
        read_records(store, IDENTITY)


def test_signed_records_of_which_a_workload_is_missing_are_refused(
    store: Store, use_key: UseKey
) -> None:
    use_key("ours")
    two = [(KEY, KNOWN), (KEY, workload(record(2.0), shash=OTHER))]
    write_baseline(store, baseline("ab" * 32), two)
    path = records_path(store, IDENTITY.file_name)
    text = text_of(path)
    write_text_of(path, text[: text.rindex(b'{"format"')])
    with pytest.raises(BaselineError):
        read_records(store, IDENTITY)


def test_one_unsigned_workload_among_signed_records_refuses_them_all(
    store: Store, use_key: UseKey
) -> None:
    use_key("ours")
    kind = KINDS["records"]
    kind.put(store)
    signed = text_of(kind.path(store))
    for text in (signed + HEAD.replace(SHASH.encode(), OTHER.encode()), HEAD + RECORD + signed):
        write_text_of(kind.path(store), text)
        with pytest.raises(BaselineError, match="signed"):
            read_records(store, IDENTITY)


def test_a_signed_manifest_does_not_vouch_for_another_library(
    store: Store, use_key: UseKey
) -> None:
    use_key("ours")
    folder = put_artifact(store, b"code")
    (folder / "model.so").write_bytes(b"codE")
    with pytest.raises(StoreError, match="its bytes have another SHA-256"):
        find(store, DIGEST)
    # Nor under the name that its bytes would have.
    moved = store.artifacts / put_artifact(store, b"codE").name
    shutil.copy(folder / "manifest.json", moved)
    with pytest.raises(StoreError, match=OTHERS):
        find(store, moved.name)


def test_a_manifest_that_is_refused_is_healed_by_publishing_its_library_again(
    store: Store, use_key: UseKey
) -> None:
    folder = put_artifact(store, b"code")
    library = folder / "model.so"
    use_key("ours")
    with pytest.raises(StoreError, match=rf"artifact {DIGEST[:12]}: its manifest is .*not signed"):
        find(store, DIGEST)
    put_artifact(store, b"code")
    assert find(store, DIGEST) == Artifact(sha256=DIGEST, library=library, manifest=MANIFEST)


def test_a_key_may_be_any_bytes(store: Store, kind: Kind, monkeypatch: pytest.MonkeyPatch) -> None:
    # TVMTUNE_KEY=$(head -c 32 /dev/urandom): what Python reads is this.
    monkeypatch.setenv(KEY_VARIABLE, b"\xff\xfe\x80".decode("utf-8", "surrogateescape"))
    kind.put(store)
    assert refusal_of(kind.read, store, kind.written) == ""
