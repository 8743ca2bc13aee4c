"""Baselines: what they belong to, the name of their file, and their JSON."""

from __future__ import annotations

import json
import math
import re
from dataclasses import MISSING, asdict, fields, replace
from typing import Any

import pytest

from pytest_tvmtune.core.gating.accepted_baseline import Baseline, baseline_of, plain_baseline
from pytest_tvmtune.core.gating.case_identity import (
    Identity,
    default_name,
    golden_file_name,
    golden_identity,
)

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
    untuned="cd" * 32,
    signature={"entry": "main", "inputs": [["x", [1, 2], "float32"]]},
    target='{"kind": "llvm"}',
    samples_s=(1.5e-3, 1.25e-3, 1e-3, 9.0),
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
    changed: list[dict[str, Any]] = [
        {field.name: False if field.name == "prepack" else "other"} for field in fields(Identity)
    ]
    names = {replace(IDENTITY, **values).file_name for values in changed}
    assert len({IDENTITY.file_name, *names}) == len(fields(Identity)) + 1


def test_identities_that_share_a_slug_have_different_files() -> None:
    one = replace(IDENTITY, params="a b")
    other = replace(IDENTITY, params="a+b")
    moved = replace(IDENTITY, params="a b", path="other/test_mlp.py")
    assert len({one.file_name, other.file_name, moved.file_name}) == 3
    assert len({name.file_name[:-17] for name in (one, other, moved)}) == 1


def test_round_trip_through_json_text() -> None:
    back = baseline_of(json.loads(json.dumps(plain_baseline(BASELINE))))
    assert back == BASELINE
    assert isinstance(back.samples_s, tuple)


def test_what_it_took_is_the_median_of_its_samples() -> None:
    assert BASELINE.median_s == pytest.approx(1.375e-3)
    assert replace(BASELINE, samples_s=(3.0, 1.0, 2.5)).median_s == 2.5
    # It follows from them, and isn't written beside them.
    assert "median_s" not in plain_baseline(BASELINE)


@pytest.mark.parametrize(
    "loaded",
    [None, [], 5, "text", {}, {"schema": 2.5}, {"schema": "2"}, {"schema": 3},
     {**plain_baseline(BASELINE), "schema": 1}],
)  # fmt: skip
def test_what_is_no_baseline(loaded: object) -> None:
    with pytest.raises(ValueError, match="not a baseline of schema 2"):
        baseline_of(loaded)


def test_a_baseline_of_the_first_schema_is_told_to_be_one() -> None:
    old = {**plain_baseline(BASELINE), "schema": 1, "median_s": 1.25e-3}
    del old["samples_s"], old["untuned"]
    with pytest.raises(ValueError, match="not a baseline of schema 2"):
        baseline_of(old)


@pytest.mark.parametrize("field", ["params_sha256", "compiled_on", "tuned_on"])
def test_a_baseline_from_before_a_field_is_one(field: str) -> None:
    loaded = plain_baseline(BASELINE)
    del loaded[field]
    assert baseline_of(loaded) == BASELINE


@pytest.mark.parametrize("field", [one.name for one in fields(Baseline) if one.default is MISSING])
def test_a_baseline_without_one_of_its_fields_is_damaged(field: str) -> None:
    loaded = plain_baseline(BASELINE)
    del loaded[field]
    with pytest.raises(ValueError, match=f"damaged baseline: .*{field}"):
        baseline_of(loaded)


# Both become part of a path.
NO_SHA256: list[object] = [
    None, 5, "", "ab" * 31, "ab" * 33, "AB" * 32, "../" * 21 + "a", "ab" * 32 + "\n"
]  # fmt: skip
DAMAGE: dict[str, list[object]] = {
    "artifact": NO_SHA256,
    "untuned": NO_SHA256,
    "signature": [None, [], "text"],
    "target": [None, {"kind": "llvm"}, "", "llvm"],
    "samples_s": [
        [], "text", {"a": 1}, [1.0, "1"], [[1.0]], [1.0, None],
        [0.0], [1.0, -1.0], [math.nan], [1.0, math.inf],
    ],
    "num_threads": [None, "4", 1.5],
    "fingerprint": [None, [], "cpu tvm tvm_ffi", {}, {"cpu": "a CPU", "tvm": "0.27.0"}],
}  # fmt: skip


@pytest.mark.parametrize(
    ("field", "value"), [(field, value) for field, values in DAMAGE.items() for value in values]
)
def test_a_damaged_field_is_named(field: str, value: object) -> None:
    # As text: NaN and infinity pass through Python's JSON.
    loaded = json.loads(json.dumps({**plain_baseline(BASELINE), field: value}))
    with pytest.raises(ValueError, match=f"^damaged baseline: .*{field}"):
        baseline_of(loaded)


@pytest.mark.parametrize("samples", [None, 5, 1.25e-3])
def test_samples_that_are_no_list_are_damage(samples: object) -> None:
    with pytest.raises(ValueError, match="damaged baseline: "):
        baseline_of({**plain_baseline(BASELINE), "samples_s": samples})


def test_what_else_a_fingerprint_holds_is_kept() -> None:
    more = replace(BASELINE, fingerprint={**BASELINE.fingerprint, "system": "Linux", "new": [1]})
    assert baseline_of(json.loads(json.dumps(plain_baseline(more)))) == more


@pytest.mark.parametrize("identity", [None, [], 5, "text", {}, {**asdict(IDENTITY), "cls": None}])
def test_a_damaged_identity(identity: object) -> None:
    with pytest.raises(ValueError, match="damaged baseline"):
        baseline_of({**plain_baseline(BASELINE), "identity": identity})


def test_what_a_later_version_adds_is_left_out() -> None:
    identity = {**asdict(IDENTITY), "surplus": 1}
    later = {**plain_baseline(BASELINE), "identity": identity, "surplus": 1}
    assert baseline_of(later) == BASELINE


def test_golden_outputs_are_shared_by_targets_and_prepack_and_move_with_their_file() -> None:
    one = replace(IDENTITY, path="a/test_it.py")
    name = golden_file_name(one)
    assert name.endswith(".npz")
    for other in (
        replace(one, target_name="host"),
        replace(one, prepack=not one.prepack),
        replace(one, path="elsewhere/test_it.py"),
    ):
        assert golden_file_name(other) == name
        assert golden_identity(other) == golden_identity(one)
    for key in ("path", "cls", "function", "params", "name", "entry"):
        changed: dict[str, Any] = {key: "other"}
        assert golden_file_name(replace(one, **changed)) != name


@pytest.mark.parametrize(
    ("function", "path", "name"),
    [
        ("test_mlp", "tests/test_it.py", "mlp"),
        ("bench_mlp", "tests/test_it.py", "bench_mlp"),
        ("test_", "tests/test_mlp.py", "mlp"),
        ("test_", "checks.py", "checks"),
        ("test_", "test_.py", "test"),
    ],
)
def test_no_case_is_without_a_name(function: str, path: str, name: str) -> None:
    assert default_name(function, path) == name
