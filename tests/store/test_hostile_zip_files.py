"""Zip files that lead out of the store, pretend, or are none."""

from __future__ import annotations

import gzip
import stat
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from pytest_tvmtune.core.errors import StoreError
from pytest_tvmtune.core.gating.accepted_baseline import Baseline
from pytest_tvmtune.store.accepted.portable_baselines import import_baselines
from pytest_tvmtune.store.layout import Store, open_store
from tests.store.sample_portable import assert_nothing_taken_in, assert_whole, packed, unpacked
from tests.support.sample_records import put
from tests.support.sample_store import contents

OUTSIDE = [
    "../x", "../../x.json", "/tmp/x", "/x.json", "baselines/../../x.json", "baselines/../x.json",
    "baselines/x/../../../y.json", "artifacts/../x/model.so", "baselines//x.json",
    "./baselines/x.json",
    "baselines/x.json/", "baselines/", "artifacts/", "baselines", "", " baselines/x.json",
    "baselines/x.json ", "baselines/x.json\n", "baselines/..\\..\\x.json", "baselines\\x.json",
    "C:/x.json", "C:\\x.json", "baselines/a/x.json", "baselines/x.txt", "baselines/x.json.damaged",
    "baselines/.json.lock", "tuning/k/x.jsonl", "builds/x.json", "plans/x.json", "warm/x.json",
    "probes.json", ".gitignore", "CACHEDIR.TAG", f"artifacts/{'0' * 63}/model.so",
    f"artifacts/{'0' * 65}/model.so", f"artifacts/{'A' * 64}/model.so",
    f"artifacts/{'0' * 64}/other.so", f"artifacts/{'0' * 64}/../model.so",
    f"artifacts/{'0' * 64}/model.so/x", f"artifacts/{'0' * 64}/", "baselines/a b.json",
    "BASELINES/x.json", "x\\..\\..\\y",
]  # fmt: skip


@pytest.mark.parametrize("name", OUTSIDE)
@pytest.mark.parametrize("alone", [True, False])
def test_a_path_that_is_none_of_a_stores_baselines_refuses_the_file(
    case: Baseline, target: Store, file: Path, name: str, alone: bool
) -> None:
    content = {} if alone else unpacked(file)
    content[name] = b"{}"
    outside = set(target.root.parent.iterdir())
    said = assert_nothing_taken_in(target, packed(file, content))
    assert said == f"{file} is not a file of baselines: it contains {name!r}"
    assert set(target.root.parent.iterdir()) == outside


def test_a_path_with_a_zero_byte_never_leads_out(case: Baseline, target: Store, file: Path) -> None:
    # zipfile itself cuts a name there; made by hand, since it writes none either.
    packed(file, {**unpacked(file), "../x?.json": b"{}"})
    file.write_bytes(file.read_bytes().replace(b"../x?.json", b"../x\x00.json"))
    assert_nothing_taken_in(target, file)


def test_a_link_in_the_file_is_no_link_in_the_store(
    case: Baseline, target: Store, file: Path, tmp_path: Path
) -> None:
    precious = put(tmp_path / "precious.json", b"{}")
    content = unpacked(file)

    def pack_links(**more: bytes) -> None:
        with zipfile.ZipFile(file, "w") as opened:
            for name, data in {**content, **more}.items():
                info = zipfile.ZipInfo(name)
                info.external_attr = (stat.S_IFLNK | 0o777) << 16
                opened.writestr(info, data)

    pack_links()
    import_baselines(target, file)
    assert_whole(target, case)
    assert not any(path.is_symlink() for path in target.root.rglob("*"))
    pack_links(**{"baselines/link.json": str(precious).encode()})
    assert_nothing_taken_in(target, file)


def test_what_is_in_the_file_twice_is_one_of_them(
    case: Baseline, target: Store, file: Path
) -> None:
    content = unpacked(file)
    name = f"artifacts/{case.artifact}/model.so"
    for first, last in ((b"evil", content[name]), (content[name], b"evil")):
        with zipfile.ZipFile(file, "w") as opened:
            for inside, data in content.items():
                opened.writestr(inside, first if inside == name else data)
            with pytest.warns(UserWarning, match="Duplicate name"):
                opened.writestr(name, last)
        if last == b"evil":
            assert f"artifact {case.artifact[:12]} is damaged" in assert_nothing_taken_in(
                open_store(target.root.with_name("another")), file
            )
        else:
            import_baselines(target, file)
            assert_whole(target, case)


NO_ZIP = [b"", b"PK", b"no zip\n", b"\x00" * 1000, b"PK\x03\x04" + b"\x00" * 100,
          gzip.compress(b"x", mtime=0), b"<<<<<<< HEAD\n"]  # fmt: skip


@pytest.mark.parametrize("content", NO_ZIP)
def test_a_file_that_is_no_zip(target: Store, file: Path, content: bytes) -> None:
    said = assert_nothing_taken_in(target, put(file, content))
    assert said == f"can't read {file}: File is not a zip file"


@pytest.mark.parametrize("kind", ["absent", "folder"])
def test_a_file_that_is_none(target: Store, file: Path, kind: str) -> None:
    if kind == "folder":
        file.mkdir()
    said = assert_nothing_taken_in(target, file)
    assert said.startswith(f"can't read {file}: ")


def test_every_truncation_of_the_file_is_refused(case: Baseline, target: Store, file: Path) -> None:
    good = file.read_bytes()
    before = contents(target.root)
    for length in range(0, len(good), 7):
        file.write_bytes(good[:length])
        with pytest.raises(StoreError):
            import_baselines(target, file)
    assert contents(target.root) == before


def test_every_changed_byte_of_the_file_is_refused_or_changes_nothing(
    case: Baseline, store: Store, tmp_path: Path, file: Path
) -> None:
    good = file.read_bytes()
    expected = contents(store.root)
    raised: dict[str, int] = {}
    target = open_store(tmp_path / "changed")
    nothing = contents(target.root)
    for position in range(0, len(good), 3):
        changed = bytearray(good)
        changed[position] ^= 0x80 if position % 2 else 1
        file.write_bytes(changed)
        try:
            import_baselines(target, file)
        except StoreError:
            assert contents(target.root) == nothing
        except Exception as error:  # noqa: BLE001
            raised[type(error).__name__] = position
        else:
            # A time or a mode, which nobody looks at.
            assert contents(target.root) == expected
            target = open_store(tmp_path / f"changed {position}")
    assert raised == {}


def test_a_file_within_another_is_read(case: Baseline, target: Store, file: Path) -> None:
    # What stands before a zip file is none of its business: so do self-extracting ones.
    file.write_bytes(b"#!/bin/sh\n" + file.read_bytes())
    import_baselines(target, file)
    assert_whole(target, case)


def protected(file: Path) -> None:
    """Set the flag of encryption everywhere."""
    data = bytearray(file.read_bytes())
    for magic, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        start = data.find(magic)
        while start >= 0:
            data[start + offset] |= 1
            start = data.find(magic, start + 4)
    file.write_bytes(data)


def of_a_later_version(file: Path) -> None:
    data = bytearray(file.read_bytes())
    start = data.find(b"PK\x01\x02")
    data[start + 6 : start + 8] = struct.pack("<H", 99)
    file.write_bytes(data)


def packed_otherwise(file: Path) -> None:
    """Say that it is packed by a method which nobody knows."""
    data = bytearray(file.read_bytes())
    for magic, offset in ((b"PK\x03\x04", 8), (b"PK\x01\x02", 10)):
        start = data.find(magic)
        data[start + offset : start + offset + 2] = struct.pack("<H", 97)
    file.write_bytes(data)


@pytest.mark.parametrize("make", [protected, of_a_later_version, packed_otherwise])
def test_a_zip_that_python_can_not_read(
    case: Baseline, target: Store, file: Path, make: Callable[[Path], None]
) -> None:
    make(file)
    assert_nothing_taken_in(target, file)
