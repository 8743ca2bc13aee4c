"""Tuning files, whose signature is a line of its own: alone, merged, and in fallbacks."""

from __future__ import annotations

import json
import subprocess
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from pytest_tvmtune.store.layout import Store, open_store
from pytest_tvmtune.store.signing.sign_again import sign_store
from pytest_tvmtune.store.tuning.workload_files import add_to_workload, read_workload
from tests.store.sample_signed import KNOWN, OTHERS, UNSIGNED, UseKey, last_line
from tests.support.sample_records import (
    HEAD,
    KEY,
    SHASH,
    line,
    path_of,
    put,
    read_with_warnings,
    record,
    served,
    workload,
)
from tests.support.sample_store import contents


@pytest.fixture
def signed(store: Store, use_key: UseKey) -> tuple[bytes, bytes]:
    """A signed file's lines, and the last, which is their signature; with the key that is set."""
    use_key("ours")
    add_to_workload(store, KEY, KNOWN)
    text = path_of(store).read_bytes()
    lines = text.splitlines(keepends=True)
    assert json.loads(lines[-1]) == {"kind": "signature", "hmac": last_line(text)["hmac"]}
    return b"".join(lines[:-1]), lines[-1]


def forged(seconds: float = 1e-9) -> bytes:
    return line("record", **asdict(record(seconds, "forged")))


def arrangements(lines: bytes, last: bytes) -> dict[str, bytes]:
    """Files with all of a signed file's lines in them, that weren't signed as they are."""
    head, rest = lines.split(b"\n", 1)
    good = last_line(last)["hmac"].encode()
    return {
        "in the middle": head + b"\n" + last + rest,
        "first": last + lines,
        "twice": lines + last + last,
        "twice, the first in the middle": head + b"\n" + last + rest + last,
        "with a record after it": lines + last + forged(),
        "with a record before it": lines + forged() + last,
        "with a record in between": lines + last + forged() + last,
        "on the line of the last record": lines[:-1] + last,
        "with blanks before": lines + b" " + last,
        "in another order": lines + b'{"kind": "signature", "hmac": "%s"}\n' % good,
        "without its blank": lines + last.replace(b'{"hmac": ', b'{"hmac":'),
        "as text": lines + json.dumps(last.decode()).encode() + b"\n",
        "in a list": lines + b"[" + last.rstrip() + b"]\n",
        "with Windows's line ends": (lines + last).replace(b"\n", b"\r\n"),
        "under conflict markers": b"<<<<<<< HEAD\n" + lines + last + b"=======\n>>>>>>> theirs\n",
        "its lines in another order": rest + head + b"\n" + last,
        "a line lost": b"".join(lines.splitlines(keepends=True)[:-1]) + last,
        "a line doubled": lines + rest + last,
        "with a byte order mark": b"\xef\xbb\xbf" + lines + last,
        "alone": last,
    }  # fmt: skip


@pytest.mark.parametrize("name", arrangements(b"a\nb\n", b'{"hmac": ""}'))
def test_a_signature_counts_only_as_the_last_line_of_what_it_signs(
    store: Store, signed: tuple[bytes, bytes], name: str
) -> None:
    content = arrangements(*signed)[name]
    put(path_of(store), content)
    found, said = read_with_warnings(store)
    assert found is None
    assert len(said) == 1
    assert "signed" in said[0]
    assert path_of(store).with_name(f"{SHASH}.jsonl.damaged").read_bytes() == content
    assert not path_of(store).exists()


def hidden(lines: bytes, last: bytes) -> dict[str, bytes]:
    """Files whose signature is JSON of several lines, one of which is a record of its own."""
    good = last_line(last)["hmac"].encode()
    return {
        "after the signature": lines + b'{"hmac": "%s", "x":\n%s}\n' % (good, forged()),
        "before it": lines + b'{"hmac": "", "x":\n%s, "hmac": "%s"}\n' % (forged(), good),
        "with other line ends": lines + b'{"hmac": "%s", "x":\r%s\r}\n' % (good, forged().rstrip()),
        "in a list": lines + b'{"hmac": "%s", "x": [0,\n%s]}\n' % (good, forged()),
        "another workload's line": lines
        + b'{"hmac": "%s", "x":\n%s}\n' % (good, HEAD.replace(b"fused_matmul", b"forged")),
    }


@pytest.mark.parametrize("name", hidden(b"", b'{"hmac": ""}'))
def test_a_signature_is_one_line(store: Store, signed: tuple[bytes, bytes], name: str) -> None:
    content = hidden(*signed)[name]
    put(path_of(store), content)
    found, _ = read_with_warnings(store)
    assert found is None or found == KNOWN
    # Nor is it signed by whoever repairs the file.
    assert read_workload(store, KEY, SHASH) in (None, KNOWN)


def test_a_fallbacks_signature_is_one_line_too(
    store: Store, signed: tuple[bytes, bytes], tmp_path: Path
) -> None:
    put(path_of(store), hidden(*signed)["after the signature"])
    found, said = read_with_warnings(open_store(tmp_path / "own", (store.root,)))
    assert found is None or found == KNOWN
    assert len(said) == 1


@pytest.mark.parametrize(
    "row",
    [
        {"kind": "record", **asdict(record(1e-9, "forged"))},
        {"kind": "served", **asdict(served(10**6))},
        {"kind": "refused", "digest": record(1e-3).digest, "reason": "forged"},
        {"kind": "signature", "surplus": 1},
        {},
    ],
)
def test_a_line_with_a_signature_is_nothing_else(
    store: Store, signed: tuple[bytes, bytes], row: dict[str, Any]
) -> None:
    lines, last = signed
    both = {"hmac": last_line(last)["hmac"], **row}
    put(path_of(store), lines + json.dumps(both).encode() + b"\n")
    found, said = read_with_warnings(store)
    # What is signed is used all the same; the line that isn't whole is set aside.
    assert found == KNOWN
    assert len(said) == 1
    assert read_with_warnings(store) == (KNOWN, [])


@pytest.mark.parametrize("end", [b"", b"\n\n", b"\n" * 5])
def test_ends_of_the_file_that_the_signature_allows_are_repaired(
    store: Store, signed: tuple[bytes, bytes], end: bytes
) -> None:
    put(path_of(store), b"".join(signed).rstrip(b"\n") + end)
    found, said = read_with_warnings(store)
    assert found == KNOWN
    assert len(said) == 1
    assert path_of(store).read_bytes() == b"".join(signed)


@pytest.mark.parametrize("name", ["in the middle", "first", "twice", "with a record after it",
                                  "twice, the first in the middle", "with a record in between",
                                  "in another order", "without its blank"])  # fmt: skip
def test_without_a_key_a_signature_may_stand_anywhere(
    store: Store, signed: tuple[bytes, bytes], use_key: UseKey, name: str
) -> None:
    use_key("")
    put(path_of(store), arrangements(*signed)[name])
    found, said = read_with_warnings(store)
    assert said == []
    assert found is not None
    assert found.best("this CPU") == (
        record(1e-9, "forged") if "a record" in name else record(1e-3)
    )
    assert found.served == KNOWN.served


@pytest.mark.parametrize("end", [-1, -2, -20, -60])
def test_a_truncated_signature_is_refused_with_a_key_and_damage_without(
    store: Store, signed: tuple[bytes, bytes], use_key: UseKey, end: int
) -> None:
    lines, last = signed
    content = lines + last[:-1][:end]
    put(path_of(store), content)
    found, said = read_with_warnings(store)
    assert found is None
    assert "signed" in said[0]
    use_key("")
    put(path_of(store), content)
    found, said = read_with_warnings(store)
    assert found == KNOWN
    assert len(said) == 1
    # What is valid stays valid, but isn't signed any more.
    assert path_of(store).read_bytes() == lines


def test_a_signed_tuning_file_in_another_targets_folder_is_refused(
    store: Store, use_key: UseKey
) -> None:
    use_key("ours")
    add_to_workload(store, KEY, KNOWN)
    copy = store.tuning / "cuda-tvm0.27-0" / f"{SHASH}.jsonl"
    put(copy, path_of(store).read_bytes())
    with pytest.warns(UserWarning, match=OTHERS):
        assert read_workload(store, "cuda-tvm0.27-0", SHASH) is None
    assert not copy.exists()
    # Made to fit, it isn't what was signed either.
    put(copy, path_of(store).read_bytes().replace(KEY.encode(), b"cuda-tvm0.27-0"))
    with pytest.warns(UserWarning, match=OTHERS):
        assert read_workload(store, "cuda-tvm0.27-0", SHASH) is None


def test_adding_to_an_unsigned_file_sets_it_aside_and_begins_a_signed_one(
    store: Store, use_key: UseKey
) -> None:
    add_to_workload(store, KEY, KNOWN)
    unsigned = path_of(store).read_bytes()
    use_key("ours")
    more = workload(record(2e-3, "more"))
    with pytest.warns(UserWarning, match=UNSIGNED):
        assert add_to_workload(store, KEY, more) == more
    assert path_of(store).with_name(f"{SHASH}.jsonl.damaged").read_bytes() == unsigned
    assert read_with_warnings(store) == (more, [])


def test_adding_to_a_signed_file_signs_the_whole(store: Store, use_key: UseKey) -> None:
    use_key("ours")
    add_to_workload(store, KEY, KNOWN)
    whole = add_to_workload(store, KEY, workload(record(2e-3, "more")))
    assert len(whole.records) == 2
    assert read_with_warnings(store) == (whole, [])
    assert path_of(store).read_bytes().count(b'"hmac"') == 1


def test_adding_without_the_key_takes_the_signature_away(store: Store, use_key: UseKey) -> None:
    use_key("ours")
    add_to_workload(store, KEY, KNOWN)
    before = contents(store.root)
    use_key("")
    # What is known already changes nothing, so the signature stays.
    add_to_workload(store, KEY, KNOWN)
    assert contents(store.root) == before
    add_to_workload(store, KEY, workload(record(2e-3, "more")))
    assert b'"hmac"' not in path_of(store).read_bytes()


def test_a_fallbacks_unsigned_file_is_left_out_with_a_warning(
    store: Store, use_key: UseKey, tmp_path: Path
) -> None:
    theirs = open_store(tmp_path / "theirs")
    add_to_workload(theirs, KEY, workload(record(1e-9, "theirs")))
    both = Store(root=store.root, fallbacks=(theirs.root,))
    before = contents(theirs.root)
    use_key("ours")
    for known in (None, KNOWN):
        if known is not None:
            add_to_workload(store, KEY, known)
        found, said = read_with_warnings(both)
        assert found == known
        assert said == [f"tuning store: {path_of(theirs)} is damaged ({UNSIGNED}) and is not used"]
    assert contents(theirs.root) == before
    use_key("")
    found, said = read_with_warnings(both)
    assert found is not None
    assert found.best("this CPU") == record(1e-9, "theirs")
    assert said == []


def test_a_fallback_of_the_same_key_is_read(store: Store, use_key: UseKey, tmp_path: Path) -> None:
    use_key("ours")
    theirs = open_store(tmp_path / "theirs")
    add_to_workload(theirs, KEY, KNOWN)
    both = Store(root=store.root, fallbacks=(theirs.root,))
    assert read_with_warnings(both) == (KNOWN, [])
    use_key("another")
    found, said = read_with_warnings(both)
    assert found is None
    assert said == [f"tuning store: {path_of(theirs)} is damaged ({OTHERS}) and is not used"]


def union(folder: Path, *versions: bytes) -> bytes:
    """Return what git's `merge=union` makes of ours, the base and theirs."""
    folder.mkdir()
    paths = [put(folder / str(number), content) for number, content in enumerate(versions)]
    done = subprocess.run(
        ["git", "merge-file", "--union", "-p", *map(str, paths)], capture_output=True, check=True
    )
    return done.stdout


def test_two_signed_files_that_git_merges_are_refused_with_the_key_and_fine_without(
    store: Store, use_key: UseKey, tmp_path: Path
) -> None:
    use_key("ours")
    add_to_workload(store, KEY, KNOWN)
    base, versions = path_of(store).read_bytes(), []
    for one in (record(2e-3, "ours"), record(3e-3, "theirs")):
        put(path_of(store), base)
        add_to_workload(store, KEY, workload(one))
        versions.append(path_of(store).read_bytes())
    merged = union(tmp_path / "merge", versions[0], base, versions[1])
    assert merged.count(b'"hmac"') == 2
    put(path_of(store), merged)
    found, said = read_with_warnings(store)
    assert found is None
    assert OTHERS in said[0]
    aside = path_of(store).with_name(f"{SHASH}.jsonl.damaged")
    assert aside.read_bytes() == merged

    use_key("")
    aside.replace(path_of(store))
    found, said = read_with_warnings(store)
    assert said == []
    assert found is not None
    assert [r.mean_s for r in found.records] == [1e-3, 2e-3, 3e-3]

    # Whoever trusts it signs it.
    use_key("ours")
    assert sign_store(store) == (1, [])
    assert read_with_warnings(store) == (found, [])
    assert path_of(store).read_bytes().count(b'"hmac"') == 1
