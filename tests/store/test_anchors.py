"""Anchors: carried, merged, checked, signed, and kept, as baselines are."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from pytest_tvmtune.core.errors import BaselineError, StoreError
from pytest_tvmtune.core.gating.accepted_baseline import Baseline
from pytest_tvmtune.store.accepted.baseline_files import read_anchor, read_baseline, write_anchor
from pytest_tvmtune.store.accepted.portable_baselines import export_baselines, import_baselines
from pytest_tvmtune.store.cleaning import old_artifacts
from pytest_tvmtune.store.inventory import problems
from pytest_tvmtune.store.layout import Store
from pytest_tvmtune.store.merging import LeftOut, MergedFile, merge_baselines
from pytest_tvmtune.store.signing.sign_again import sign_store
from tests.store.sample_portable import packed, unpacked
from tests.store.sample_signed import UseKey
from tests.support.sample_store import contents, days_ago, put_artifact, put_case


@pytest.fixture
def accepted(store: Store) -> Baseline:
    return put_case(store)


@pytest.fixture
def anchor(store: Store, accepted: Baseline) -> Baseline:
    """An older artifact of the same case, which no baseline needs."""
    older = replace(accepted, artifact=put_artifact(store, b"older", days=90).name)
    write_anchor(store, older)
    return older


def test_it_is_told_from_the_baseline(store: Store, accepted: Baseline, anchor: Baseline) -> None:
    assert read_anchor(store, accepted.identity) == anchor
    assert read_baseline(store, accepted.identity) == accepted
    assert read_anchor(store, replace(accepted.identity, name="other")) is None


def test_it_is_carried_with_its_baseline(
    store: Store, target: Store, accepted: Baseline, anchor: Baseline, tmp_path: Path
) -> None:
    file = tmp_path / "out.zip"
    export_baselines(store, [accepted], file)
    assert import_baselines(target, file) == [accepted]
    assert contents(target.root) == contents(store.root)
    assert list(problems(target)) == []
    assert read_anchor(target, accepted.identity) == anchor


def test_a_damaged_one_in_a_file_is_not_taken_in(
    store: Store, target: Store, accepted: Baseline, anchor: Baseline, tmp_path: Path
) -> None:
    file = tmp_path / "out.zip"
    export_baselines(store, [accepted], file)
    whole = unpacked(file)
    library = f"artifacts/{anchor.artifact}/model.so"
    name = f"anchors/{anchor.identity.file_name}"
    for changed in ({library: b"other"}, {name: b"{"}, {name: whole[name].replace(b"main", b"x")}):
        packed(file, {**whole, **changed})
        with pytest.raises(StoreError, match="nothing was imported"):
            import_baselines(target, file)
    alone = {part: whole[part] for part in whole if not part.startswith("baselines/")}
    packed(file, alone)
    with pytest.raises(StoreError, match="it contains no baseline"):
        import_baselines(target, file)
    assert not target.anchors.exists()


def test_its_artifact_is_kept(store: Store, anchor: Baseline) -> None:
    removed = old_artifacts(store, before_s=days_ago(0), max_bytes=0)
    assert anchor.artifact not in {one.path.name for one in removed}
    (store.anchors / anchor.identity.file_name).unlink()
    removed = old_artifacts(store, before_s=days_ago(0), max_bytes=0)
    assert anchor.artifact in {one.path.name for one in removed}


def test_what_is_wrong_with_it_is_found(store: Store, anchor: Baseline) -> None:
    assert list(problems(store)) == []
    path = store.anchors / anchor.identity.file_name
    other = path.rename(path.with_name("other.json"))
    (found,) = problems(store)
    assert (found.path, found.repairable) == (other, False)
    assert found.what == f"it belongs to {path.name}"
    other.rename(path)
    (store.artifacts / anchor.artifact / "model.so").unlink()
    assert path in {one.path for one in problems(store)}


def test_it_is_merged_where_there_is_none(
    store: Store, target: Store, accepted: Baseline, anchor: Baseline
) -> None:
    def merged() -> list[MergedFile | LeftOut]:
        return list(merge_baselines(target, [store]))

    name = accepted.identity.file_name
    files = [target.baselines / name, target.anchors / name]
    assert merged() == [MergedFile(path=path, changed=True) for path in files]
    assert read_anchor(target, accepted.identity) == anchor
    assert merged() == [MergedFile(path=path, changed=False) for path in files]
    write_anchor(target, accepted)
    left_out = merged()[1]
    assert isinstance(left_out, LeftOut)
    assert "has another anchor of this case" in left_out.reason


def test_it_is_signed_as_an_anchor(store: Store, anchor: Baseline, use_key: UseKey) -> None:
    """A signed baseline isn't one of an anchor."""
    use_key("secret")
    with pytest.raises(BaselineError, match="not signed"):
        read_anchor(store, anchor.identity)
    assert sign_store(store)[1] == []
    assert read_anchor(store, anchor.identity) == anchor
    name = anchor.identity.file_name
    (store.anchors / name).write_bytes((store.baselines / name).read_bytes())
    with pytest.raises(BaselineError):
        read_anchor(store, anchor.identity)
