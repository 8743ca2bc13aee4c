"""Baselines: what they belong to, the name of their file, and their JSON."""

from __future__ import annotations

import json
import re
from dataclasses import asdict, fields, replace

import pytest

from pytest_tvmtune.core.baseline import Baseline, Identity

IDENTITY = Identity(
    path="models/test_mlp.py",
    cls="TestSmall",
    function="test_latency",
    params="8-float32",
    name="second",
    entry="main",
    target_name="llvm-12345678",
    prepack=True,
)
BASELINE = Baseline(
    identity=IDENTITY,
    artifact="ab" * 32,
    signature={"entry": "main", "inputs": [["x", [1, 2], "float32"]]},
    target='{"kind": "llvm"}',
    median_s=1.25e-3,
    num_threads=4,
    fingerprint={"cpu": "a CPU", "tvm": "0.27.0", "tvm_ffi": "0.1.14"},
    accepted_at="2024-01-01T00:00:00Z",
)


def test_the_file_name_is_readable_and_does_not_change_between_releases() -> None:
    assert IDENTITY.file_name == (
        "test_mlp-TestSmall-test_latency-8-float32-second-llvm-12345678-prepack-88a01cb7107e.json"
    )


def test_parts_that_are_empty_leave_no_gap() -> None:
    plain = replace(IDENTITY, cls="", params="", name="", prepack=False, target_name="llvm")
    assert re.fullmatch(r"test_mlp-test_latency-llvm-[0-9a-f]{12}\.json", plain.file_name)


@pytest.mark.parametrize(
    "params", ["x" * 500, "ü/../..\\ \n\0:*?", "日本語" * 100, "-", "." * 90, ""]
)
def test_file_names_are_bounded_and_safe(params: str) -> None:
    name = replace(IDENTITY, params=params).file_name
    assert re.fullmatch(r"[A-Za-z0-9_.-]{0,80}-[0-9a-f]{12}\.json", name)
    assert "/" not in name


def test_every_field_makes_another_file() -> None:
    changed = {
        field.name: replace(
            IDENTITY, **{field.name: False if field.name == "prepack" else "other"}
        ).file_name
        for field in fields(Identity)
    }
    assert len({IDENTITY.file_name, *changed.values()}) == len(fields(Identity)) + 1


def test_identities_that_share_a_slug_have_different_files() -> None:
    one = replace(IDENTITY, params="a b")
    other = replace(IDENTITY, params="a+b")
    moved = replace(IDENTITY, params="a b", path="other/test_mlp.py")
    assert len({one.file_name, other.file_name, moved.file_name}) == 3
    assert len({name.file_name[:-17] for name in (one, other, moved)}) == 1


def test_round_trip_through_json_text() -> None:
    assert Baseline.from_json(json.loads(json.dumps(BASELINE.to_json()))) == BASELINE


@pytest.mark.parametrize("loaded", [None, [], 5, "text", {}, {"schema": 2}, {"schema": "1"}])
def test_what_is_no_baseline(loaded: object) -> None:
    with pytest.raises(ValueError, match="not a baseline of schema 1"):
        Baseline.from_json(loaded)


@pytest.mark.parametrize("field", [field.name for field in fields(Baseline)])
def test_a_baseline_without_one_of_its_fields_is_damaged(field: str) -> None:
    loaded = BASELINE.to_json()
    del loaded[field]
    with pytest.raises(ValueError, match=f"damaged baseline: .*{field}"):
        Baseline.from_json(loaded)


@pytest.mark.parametrize("identity", [None, [], 5, "text", {}, {**asdict(IDENTITY), "surplus": 1}])
def test_a_damaged_identity(identity: object) -> None:
    with pytest.raises(ValueError, match="damaged baseline"):
        Baseline.from_json({**BASELINE.to_json(), "identity": identity})


def test_a_surplus_field_is_damage_not_data() -> None:
    with pytest.raises(ValueError, match=r"damaged baseline: .*surplus"):
        Baseline.from_json({**BASELINE.to_json(), "surplus": 1})
