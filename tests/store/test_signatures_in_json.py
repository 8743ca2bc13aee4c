"""Signatures among JSON values, and the ways to hide something beside them."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from pytest_tvmtune.core.errors import BaselineError
from pytest_tvmtune.store.accepted.baseline_files import read_baseline, write_baseline
from pytest_tvmtune.store.layout import Store
from pytest_tvmtune.store.signing.signatures import sign_json, verified_json
from tests.store.sample_signed import (
    KINDS,
    OTHERS,
    UNSIGNED,
    Kind,
    UseKey,
    assert_refused,
    last_line,
    refusal_of,
    text_of,
    write_text_of,
)
from tests.support.sample_store import IDENTITY, baseline

# Signatures that are none, as JSON.
NO_SIGNATURES = ["null", "true", "5", "[]", "{}", '""', '"0"', '" "', '["{good}"]', '" {good}"',
                 '"{good}0"', '{"hmac": "{good}"}', '"{upper}"']  # fmt: skip


def replaced(text: bytes, good: str, wrong: str) -> bytes:
    """Return `text` with its signature replaced by other JSON."""
    wrong = wrong.replace("{good}", good).replace("{upper}", good.upper())
    assert text.count(f'"{good}"'.encode()) == 1
    return text.replace(f'"{good}"'.encode(), wrong.encode())


@pytest.mark.parametrize("wrong", NO_SIGNATURES)
def test_a_signature_that_is_none_is_refused(
    store: Store, kind: Kind, use_key: UseKey, wrong: str
) -> None:
    use_key("ours")
    kind.put(store)
    path = kind.path(store)
    text = text_of(path)
    good = json.loads(text)["hmac"] if path.suffix == ".json" else last_line(text)["hmac"]
    write_text_of(path, replaced(text, good, wrong))
    assert_refused(kind, store, "signed")


@pytest.mark.parametrize("name", [name for name in KINDS if name != "warm"])
@pytest.mark.parametrize("wrong", ['"é"', '"{good}\\ud800"'])
def test_a_signature_that_is_not_ascii_is_refused(
    store: Store, use_key: UseKey, name: str, wrong: str
) -> None:
    test_a_signature_that_is_none_is_refused(store, KINDS[name], use_key, wrong)


def test_of_values_that_are_given_twice_only_what_is_used_counts(
    store: Store, json_kind: Kind, use_key: UseKey
) -> None:
    use_key("ours")
    json_kind.put(store)
    path = json_kind.path(store)
    good = path.read_bytes()
    values = json.loads(good)
    for name in values:
        twice = b'"%s": "other",\n' % name.encode()
        # JSON's last value counts: a first one that is another changes nothing ...
        path.write_bytes(good.replace(b"{", b"{" + twice, 1))
        assert refusal_of(json_kind.read, store, json_kind.written) == ""
        # ... and a last one is seen.
        path.write_bytes(good.rstrip().removesuffix(b"}") + b", " + twice.rstrip(b",\n") + b"}")
        assert refusal_of(json_kind.read, store, json_kind.written) != ""


def test_what_is_added_beside_the_signed_values_is_seen(
    store: Store, json_kind: Kind, use_key: UseKey
) -> None:
    use_key("ours")
    json_kind.put(store)
    path = json_kind.path(store)
    values = json.loads(path.read_bytes())
    for name, value in (("surplus", 1), ("Hmac", values["hmac"]), ("", None)):
        path.write_text(json.dumps({**values, name: value}))
        assert refusal_of(json_kind.read, store, json_kind.written) != ""


def test_another_layout_of_the_same_values_is_the_same(
    store: Store, json_kind: Kind, use_key: UseKey
) -> None:
    use_key("ours")
    json_kind.put(store)
    path = json_kind.path(store)
    loaded = json.loads(path.read_bytes())
    path.write_text(json.dumps(dict(reversed(loaded.items()))))
    assert refusal_of(json_kind.read, store, json_kind.written) == ""


@pytest.mark.parametrize(
    ("before", "after"),
    [({"a": 1}, {"a": 1.0}), ({"a": 1}, {"a": True}), ({"a": 0}, {"a": False}),
     ({"a": 1}, {"a": "1"}), ({"a": None}, {}), ({"a": []}, {"a": {}}), ({"a": 0.0}, {"a": -0.0}),
     ({"a": ["b", "c"]}, {"a": ["b, c"]}), ({"a": "\u00e9"}, {"a": "e\u0301"}),
     ({"a": float("inf")}, {"a": "Infinity"}), ({"a": {"hmac": "x"}}, {"a": {}}),
     ({"a": {"hmac": "x"}}, {"a": {"hmac": "y"}}), ({"a": [{"hmac": 1}]}, {"a": [{}]})],
)  # fmt: skip
def test_values_that_only_look_alike_are_told_apart_and_inner_signatures_are_values(
    use_key: UseKey, before: Any, after: Any
) -> None:
    use_key("ours")
    signed = sign_json("x", before)
    assert verified_json("x", json.loads(json.dumps(signed))) == before
    with pytest.raises(ValueError, match=OTHERS):
        verified_json("x", {**after, "hmac": signed["hmac"]})
    with pytest.raises(ValueError, match=UNSIGNED):
        verified_json("x", before)


def test_a_signature_inside_a_baselines_values_is_theirs(store: Store, use_key: UseKey) -> None:
    inside = replace(baseline("ab" * 32), signature={"hmac": "0" * 64, "entry": "main"})
    for key in ("", "ours"):
        use_key(key)
        write_baseline(store, inside, [])
        assert read_baseline(store, IDENTITY) == inside
    # It doesn't count as the file's.
    path = store.baselines / IDENTITY.file_name
    loaded = json.loads(path.read_bytes())
    loaded["signature"]["hmac"] = loaded.pop("hmac")
    path.write_text(json.dumps(loaded))
    with pytest.raises(BaselineError, match=UNSIGNED):
        read_baseline(store, IDENTITY)


@pytest.mark.parametrize("content", [b"[]", b"null", b"5", b'"x"', b"\xff\xfe\x00", b"{", b""])
def test_what_is_no_json_object_is_refused_with_a_key_too(
    store: Store, json_kind: Kind, use_key: UseKey, content: bytes
) -> None:
    use_key("ours")
    json_kind.put(store)
    json_kind.path(store).write_bytes(content)
    assert refusal_of(json_kind.read, store, json_kind.written) != ""
