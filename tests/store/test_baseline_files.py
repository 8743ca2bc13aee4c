"""Accepted baselines on disk, one file a case, and beside it the records of its artifact."""

from __future__ import annotations

import gzip
import json
from dataclasses import replace
from typing import Any

import pytest

from pytest_tvmtune.core.errors import BaselineError, StoreError
from pytest_tvmtune.core.gating.accepted_baseline import plain_baseline
from pytest_tvmtune.store.accepted.baseline_files import (
    read_baseline,
    read_records,
    records_path,
    write_baseline,
)
from pytest_tvmtune.store.layout import Store
from tests.support.sample_records import (
    HEAD,
    KEY,
    RECORD,
    SHASH,
    head,
    put,
    record,
    refusal,
    served,
    workload,
)
from tests.support.sample_store import IDENTITY, baseline, contents

BASELINE = baseline("ab" * 32, "cd" * 32)
OTHER = "ff" * 8
KEPT = [
    (KEY, workload(record(1e-3, "a"), served=(served(64),))),
    ("cuda-tvm0.27-0", workload(name="fused_relu", served=(served(8, valid=0),))),
    (KEY, workload(record(2.0, "c"), shash=OTHER, refused=(refusal(record(1.0, "b")),))),
]


def test_round_trip_and_replacement(store: Store) -> None:
    assert read_baseline(store, IDENTITY) is None
    write_baseline(store, BASELINE, [])
    assert read_baseline(store, IDENTITY) == BASELINE
    newer = replace(BASELINE, artifact="ef" * 32)
    write_baseline(store, newer, [])
    assert read_baseline(store, IDENTITY) == newer
    records = records_path(store, IDENTITY.file_name)
    assert {path.name for path in store.baselines.iterdir()} == {IDENTITY.file_name, records.name}


def test_each_case_has_its_own(store: Store) -> None:
    write_baseline(store, BASELINE, KEPT)
    for other in (replace(IDENTITY, prepack=True), replace(IDENTITY, path="other/test_mlp.py")):
        assert read_baseline(store, other) is None
        assert read_records(store, other) == []


@pytest.mark.parametrize(
    "content", ["", "{", "null", "[]", "{}", '{"schema": 1}', '{"schema": 99}', "\x00",
                "<<<<<<< HEAD\n{}\n=======\n{}\n>>>>>>> theirs\n"],
)  # fmt: skip
def test_a_damaged_file_is_an_error_that_names_it(store: Store, content: str) -> None:
    write_baseline(store, BASELINE, KEPT)
    path = store.baselines / IDENTITY.file_name
    path.write_text(content)
    with pytest.raises(BaselineError) as caught:
        read_baseline(store, IDENTITY)
    assert str(path) in str(caught.value)
    # It was accepted once: never thrown away, only replaced by an update.
    assert path.read_text() == content
    assert read_records(store, IDENTITY) == KEPT


@pytest.mark.parametrize("content", [b"\xff\xfe\x00", b"\x80{}", b'{"schema": "\xe9"}'])
def test_what_is_no_utf8_is_damage_too(store: Store, content: bytes) -> None:
    put(store.baselines / IDENTITY.file_name, content)
    with pytest.raises(BaselineError, match="codec can't decode"):
        read_baseline(store, IDENTITY)


def test_what_is_nested_too_deeply_is_damage_too(store: Store) -> None:
    put(store.baselines / IDENTITY.file_name, b"[" * 100_000)
    with pytest.raises(BaselineError):
        read_baseline(store, IDENTITY)


@pytest.mark.parametrize(
    ("values", "named"),
    [
        ({"artifact": "../../x"}, "artifact"),
        ({"artifact": "ab" * 32 + "\n"}, "artifact"),
        ({"untuned": "AB" * 32}, "untuned"),
        ({"untuned": None}, "untuned"),
        ({"samples_s": []}, "samples_s"),
        ({"samples_s": [1e-3, 0.0]}, "samples_s"),
        ({"samples_s": [float("nan")]}, "samples_s"),
        ({"samples_s": "123"}, "samples_s"),
        ({"samples_s": 1e-3}, "float"),
        ({"fingerprint": {"tvm": "0.27.0"}}, "fingerprint"),
        ({"identity": {"path": "x.py"}}, "identity"),
        ({"identity": None}, "identity"),
    ],
)
def test_a_value_that_can_not_be_is_damage(
    store: Store, values: dict[str, Any], named: str
) -> None:
    loaded = json.loads(json.dumps(plain_baseline(BASELINE)))
    content = json.dumps({**loaded, **values}).encode()
    put(store.baselines / IDENTITY.file_name, content)
    with pytest.raises(BaselineError, match=rf"damaged baseline: .*{named}"):
        read_baseline(store, IDENTITY)


def test_a_baseline_of_the_schema_before_is_told_by_its_number(store: Store) -> None:
    loaded = {**plain_baseline(BASELINE), "schema": 1}
    put(store.baselines / IDENTITY.file_name, json.dumps(loaded).encode())
    with pytest.raises(BaselineError, match=r"not a baseline of schema 2$"):
        read_baseline(store, IDENTITY)


def test_a_file_copied_from_another_case_is_not_believed(store: Store) -> None:
    write_baseline(store, BASELINE, [])
    other = replace(IDENTITY, function="test_other")
    source = store.baselines / IDENTITY.file_name
    (store.baselines / other.file_name).write_bytes(source.read_bytes())
    with pytest.raises(BaselineError, match=r"belongs to another case.*test_mlp"):
        read_baseline(store, other)


def test_the_file_is_plain_json_for_reviews(store: Store) -> None:
    write_baseline(store, BASELINE, [])
    text = (store.baselines / IDENTITY.file_name).read_text()
    assert json.loads(text)["identity"]["function"] == "test_mlp"
    assert json.loads(text)["samples_s"] == [1e-3, 4e-3, 2e-3]
    assert len(text.splitlines()) > 10


def test_records_round_trip_in_order_with_their_target_keys(store: Store) -> None:
    assert read_records(store, IDENTITY) == []
    write_baseline(store, BASELINE, KEPT)
    assert read_records(store, IDENTITY) == KEPT
    # A replaced baseline leaves none of its records behind.
    write_baseline(store, BASELINE, KEPT[:1])
    assert read_records(store, IDENTITY) == KEPT[:1]
    write_baseline(store, BASELINE, [])
    assert read_records(store, IDENTITY) == []


def test_the_records_of_many_workloads_stay_apart(store: Store) -> None:
    many = [
        (KEY, workload(record(n + 1.0, f"t{n}"), shash=f"{n:016x}", served=(served(n + 1),)))
        for n in range(50)
    ]
    write_baseline(store, BASELINE, many)
    assert read_records(store, IDENTITY) == many


def test_the_records_are_lines_of_tuning_files_and_the_same_bytes_every_time(store: Store) -> None:
    path = records_path(store, IDENTITY.file_name)
    write_baseline(store, BASELINE, KEPT)
    first = path.read_bytes()
    kinds = [json.loads(line)["kind"] for line in gzip.decompress(first).splitlines()]
    assert kinds == ["workload", "record", "served", "workload", "served",
                     "workload", "record", "refused"]  # fmt: skip
    # gzip's own header holds no time: in git nothing changes when nothing did.
    assert first[4:8] == bytes(4)
    write_baseline(store, BASELINE, KEPT)
    assert path.read_bytes() == first


def test_a_baseline_is_never_without_its_records(store: Store) -> None:
    write_baseline(store, BASELINE, KEPT)
    records = records_path(store, IDENTITY.file_name)
    records.unlink()
    records.mkdir()
    before = contents(store.root)
    with pytest.raises(StoreError, match=r"records\.jsonl\.gz: it is not a regular file"):
        write_baseline(store, replace(BASELINE, artifact="ef" * 32), KEPT)
    assert contents(store.root) == before


def packed(*lines: bytes) -> bytes:
    return gzip.compress(b"".join(lines))


DAMAGED_RECORDS = {
    "no gzip": HEAD + RECORD,
    "short": b"\x1f",
    "truncated": packed(HEAD, RECORD)[:-1],
    "half": packed(HEAD, RECORD)[:60],
    "wrong sum": packed(HEAD, RECORD)[:-5] + b"\x00" + packed(HEAD, RECORD)[-4:],
    "something behind": packed(HEAD, RECORD) + b"x",
    "truncated inside": packed(HEAD, RECORD[:-20]),
    "last line without its end": packed(HEAD, RECORD[:-1]),
    "garbage line": packed(HEAD, b"garbage\n", RECORD),
    "blank line": packed(HEAD, b"\n"),
    "no utf8": packed(HEAD, b"\xff\xfe\n"),
    "nested too deeply": packed(HEAD, b"[" * 100_000 + b"\n"),
    "conflict": packed(b"<<<<<<< HEAD\n", HEAD, b"=======\n", HEAD, b">>>>>>> theirs\n"),
    "another format": packed(head(format=2)),
    "no base64": packed(head(ir="?")),
    "damage in the second": packed(HEAD, RECORD, head(shash=OTHER), b"garbage\n"),
    "no head in the second": packed(HEAD, RECORD, head(shash=OTHER)[:-10] + b"\n", RECORD),
}
# Not told yet.
DAMAGED_RECORDS_BELIEVED = {
    "nothing at all": b"",
    "no head in the first": packed(HEAD[:-10] + b"\n", RECORD, head(shash=OTHER), RECORD),
    "no head": packed(RECORD),
}


@pytest.mark.parametrize("damage", DAMAGED_RECORDS)
def test_damaged_records_are_an_error_that_names_the_file(store: Store, damage: str) -> None:
    write_baseline(store, BASELINE, KEPT)
    path = put(records_path(store, IDENTITY.file_name), DAMAGED_RECORDS[damage])
    before = contents(store.root)
    with pytest.raises(BaselineError) as caught:
        read_records(store, IDENTITY)
    assert str(caught.value).startswith(f"{path}: ")
    # The baseline itself is as good as ever.
    assert read_baseline(store, IDENTITY) == BASELINE
    assert contents(store.root) == before


@pytest.mark.parametrize("damage", DAMAGED_RECORDS_BELIEVED)
def test_records_without_their_heads_are_damage_too(store: Store, damage: str) -> None:
    put(records_path(store, IDENTITY.file_name), DAMAGED_RECORDS_BELIEVED[damage])
    with pytest.raises(BaselineError):
        read_records(store, IDENTITY)


def test_the_records_of_a_case_whose_name_has_dots_are_its_own(store: Store) -> None:
    dotted = replace(IDENTITY, params="a.records.b")
    plain = replace(IDENTITY, params="a")
    write_baseline(store, baseline("ab" * 32, identity=dotted), KEPT[:1])
    write_baseline(store, baseline("ab" * 32, identity=plain), KEPT[1:])
    assert read_records(store, dotted) == KEPT[:1]
    assert read_records(store, plain) == KEPT[1:]


def test_records_that_bring_code_along_are_refused(store: Store) -> None:
    evil = [[[["Annotate", ["l"], ["pragma_import_c"]]], []], [1.0], {"kind": "llvm"}, []]
    line = {**json.loads(RECORD), "data": evil}
    content = packed(HEAD, json.dumps(line).encode() + b"\n")
    put(records_path(store, IDENTITY.file_name), content)
    with pytest.raises(BaselineError, match=f"{SHASH}: line 2: refused: its trace contains code"):
        read_records(store, IDENTITY)
