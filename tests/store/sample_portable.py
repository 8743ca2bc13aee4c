"""Files of baselines: taken apart and packed again, and what importing them may do."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

import pytest

from pytest_tvmtune.core.errors import StoreError
from pytest_tvmtune.core.gating.accepted_baseline import Baseline
from pytest_tvmtune.store.accepted.baseline_files import read_baseline, read_records
from pytest_tvmtune.store.accepted.portable_baselines import import_baselines
from pytest_tvmtune.store.artifacts import find
from pytest_tvmtune.store.inventory import problems
from pytest_tvmtune.store.layout import Store
from tests.support.sample_records import KEY
from tests.support.sample_store import RECORDS, contents

Content = dict[str, bytes]


def unpacked(file: Path) -> Content:
    with zipfile.ZipFile(file) as opened:
        return {name: opened.read(name) for name in opened.namelist()}


def packed(file: Path, content: Content) -> Path:
    with zipfile.ZipFile(file, "w") as opened:
        for name, data in content.items():
            opened.writestr(zipfile.ZipInfo(name), data)
    return file


def assert_whole(store: Store, case: Baseline) -> None:
    """Assert that all of a case is in a store and sound."""
    assert read_baseline(store, case.identity) == case
    assert read_records(store, case.identity) == [(KEY, RECORDS)]
    for digest in (case.artifact, case.untuned):
        assert find(store, digest).sha256 == digest
    assert list(problems(store)) == []


def assert_nothing_taken_in(store: Store, file: Path) -> str:
    """Assert that importing changes nothing in the store; return the one-line message."""
    before = contents(store.root)
    with pytest.raises(StoreError) as caught:
        import_baselines(store, file)
    assert contents(store.root) == before
    said = str(caught.value)
    assert str(file) in said
    assert len(said.splitlines()) == 1
    return said


def own(case: Baseline, content: Content) -> str:
    return f"baselines/{case.identity.file_name}"


def its_records(case: Baseline, content: Content) -> str:
    return own(case, content).replace(".json", ".records.jsonl.gz")


def change_baseline(case: Baseline, content: Content, **values: Any) -> None:
    loaded = json.loads(content[own(case, content)])
    content[own(case, content)] = json.dumps({**loaded, **values}).encode()
