"""Accepted baselines on disk, one file a case."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from pytest_tvmtune.core.baseline import Baseline, Identity
from pytest_tvmtune.core.errors import BaselineError
from pytest_tvmtune.store.baselines import read_baseline, write_baseline
from pytest_tvmtune.store.layout import Store

IDENTITY = Identity(
    path="test_mlp.py",
    cls="",
    function="test_mlp",
    params="",
    name="",
    entry="main",
    target_name="llvm",
    prepack=False,
)
BASELINE = Baseline(
    identity=IDENTITY,
    artifact="ab" * 32,
    signature={"entry": "main"},
    target='{"kind": "llvm"}',
    median_s=1e-3,
    num_threads=4,
    fingerprint={"cpu": "a CPU", "tvm": "0.27.0", "tvm_ffi": "0.1.14"},
    accepted_at="2024-01-01T00:00:00Z",
)


def test_round_trip_and_replacement(store: Store) -> None:
    assert read_baseline(store, IDENTITY) is None
    write_baseline(store, BASELINE)
    assert read_baseline(store, IDENTITY) == BASELINE
    newer = replace(BASELINE, artifact="cd" * 32)
    write_baseline(store, newer)
    assert read_baseline(store, IDENTITY) == newer
    assert [p.name for p in store.baselines.iterdir()] == [IDENTITY.file_name]


def test_each_case_has_its_own(store: Store) -> None:
    write_baseline(store, BASELINE)
    assert read_baseline(store, replace(IDENTITY, prepack=True)) is None
    assert read_baseline(store, replace(IDENTITY, path="other/test_mlp.py")) is None


@pytest.mark.parametrize(
    "content", ["", "{", "null", "[]", "{}", '{"schema": 1}', '{"schema": 99}', "\x00",
                "<<<<<<< HEAD\n{}\n=======\n{}\n>>>>>>> theirs\n"],
)  # fmt: skip
def test_a_damaged_file_is_an_error_that_names_it(store: Store, content: str) -> None:
    write_baseline(store, BASELINE)
    path = store.baselines / IDENTITY.file_name
    path.write_text(content)
    with pytest.raises(BaselineError) as caught:
        read_baseline(store, IDENTITY)
    assert str(path) in str(caught.value)
    # It was accepted once: never thrown away, only replaced by an update.
    assert path.read_text() == content


def test_a_file_copied_from_another_case_is_not_believed(store: Store) -> None:
    write_baseline(store, BASELINE)
    other = replace(IDENTITY, function="test_other")
    source = store.baselines / IDENTITY.file_name
    (store.baselines / other.file_name).write_bytes(source.read_bytes())
    with pytest.raises(BaselineError, match=r"belongs to another case.*test_mlp"):
        read_baseline(store, other)


def test_the_file_is_plain_json_for_reviews(store: Store) -> None:
    write_baseline(store, BASELINE)
    text = (store.baselines / IDENTITY.file_name).read_text()
    assert json.loads(text)["identity"]["function"] == "test_mlp"
    assert len(text.splitlines()) > 10
