"""Baselines carried from one store to another in one file."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from pytest_tvmtune.core.errors import StoreError
from pytest_tvmtune.core.gating.accepted_baseline import Baseline
from pytest_tvmtune.store.accepted.baseline_files import (
    read_baseline,
    records_path,
    write_baseline,
    write_records,
)
from pytest_tvmtune.store.accepted.portable_baselines import export_baselines, import_baselines
from pytest_tvmtune.store.artifacts import find
from pytest_tvmtune.store.cleaning import old_artifacts
from pytest_tvmtune.store.layout import Store
from pytest_tvmtune.store.signing.signatures import sign_json
from tests.store.sample_portable import (
    assert_nothing_taken_in,
    assert_whole,
    change_baseline,
    its_records,
    own,
    packed,
    unpacked,
)
from tests.store.sample_signed import UseKey
from tests.support.sample_records import KEY, put, record, workload
from tests.support.sample_store import (
    IDENTITY,
    RECORDS,
    age,
    baseline,
    contents,
    days_ago,
    put_artifact,
    put_baseline,
    put_case,
)


def test_a_round_trip_to_an_empty_store(store: Store, target: Store, file: Path) -> None:
    cases = [put_case(store, code=code, name=code.decode()) for code in (b"one", b"two")]
    size = export_baselines(store, cases, file)
    assert size == file.stat().st_size
    taken = import_baselines(target, file)
    assert sorted(taken, key=lambda one: one.identity.name) == cases
    for case in cases:
        assert_whole(target, case)
    # To the byte, and nothing beside it.
    assert contents(target.root) == contents(store.root)


def test_what_is_in_the_file(case: Baseline, store: Store, file: Path) -> None:
    name = case.identity.file_name
    assert sorted(unpacked(file)) == sorted(
        [f"baselines/{name}", f"baselines/{records_path(store, name).name}"]
        + [f"artifacts/{digest}/{part}" for digest in (case.artifact, case.untuned)
           for part in ("model.so", "manifest.json")]
    )  # fmt: skip
    assert unpacked(file)[f"artifacts/{case.artifact}/model.so"] == b"tuned"


def test_only_the_baselines_that_were_asked_for_travel(
    store: Store, target: Store, file: Path
) -> None:
    one, two = (put_case(store, code=code, name=code.decode()) for code in (b"one", b"two"))
    put_artifact(store, b"another")
    export_baselines(store, [two], file)
    assert import_baselines(target, file) == [two]
    assert read_baseline(target, one.identity) is None
    assert {path.name for path in target.artifacts.iterdir()} == {two.artifact, two.untuned}


def test_a_shared_artifact_is_in_the_file_once(store: Store, file: Path, target: Store) -> None:
    folder = put_artifact(store, b"code")
    put_baseline(store, folder.name)
    export_baselines(store, [baseline(folder.name)], file)
    with zipfile.ZipFile(file) as opened:
        assert len(opened.namelist()) == len(set(opened.namelist())) == 4
    assert import_baselines(target, file) == [baseline(folder.name)]


def test_the_same_baselines_make_the_same_bytes(store: Store, tmp_path: Path) -> None:
    cases = [put_case(store, code=code, name=code.decode()) for code in (b"one", b"two")]
    exported = []
    for number in range(2):
        file = tmp_path / f"{number}.zip"
        export_baselines(store, cases[:: -1 if number else 1], file)
        exported.append(file.read_bytes())
        for path in store.root.rglob("*"):
            age(path, 100)
            path.chmod(0o700)
    assert exported[0] == exported[1]
    # Nor does the time matter, which a zip file would hold.
    with zipfile.ZipFile(file) as opened:
        assert {info.date_time for info in opened.infolist()} == {(1980, 1, 1, 0, 0, 0)}


def test_what_was_imported_exports_to_the_same_bytes(
    case: Baseline, target: Store, file: Path, tmp_path: Path
) -> None:
    import_baselines(target, file)
    export_baselines(target, [case], tmp_path / "again.zip")
    assert (tmp_path / "again.zip").read_bytes() == file.read_bytes()


def test_the_file_is_compressed(store: Store, file: Path) -> None:
    accepted = put_case(store, code=b"x" * 1_000_000)
    assert export_baselines(store, [accepted], file) < 20_000


def test_an_export_replaces_the_file_and_makes_its_folder(
    case: Baseline, store: Store, tmp_path: Path
) -> None:
    file = put(tmp_path / "a" / "b" / "baselines.zip", b"before")
    export_baselines(store, [case], file)
    assert sorted(path.name for path in file.parent.iterdir()) == [file.name]
    export_baselines(store, [case], tmp_path / "c" / "d.zip")
    assert (tmp_path / "c" / "d.zip").read_bytes() == file.read_bytes()


def lose(store: Store, digest: str) -> str:
    (store.artifacts / digest / "model.so").unlink()
    return f"artifact {digest[:12]} is missing"


def damage(store: Store, digest: str) -> str:
    path = store.artifacts / digest / "model.so"
    path.write_bytes(path.read_bytes() + b"x")
    return f"artifact {digest[:12]} is damaged"


def lose_manifest(store: Store, digest: str) -> str:
    (store.artifacts / digest / "manifest.json").unlink()
    return f"artifact {digest[:12]}: its manifest is damaged"


@pytest.mark.parametrize("which", ["artifact", "untuned"])
@pytest.mark.parametrize("harm", [lose, damage, lose_manifest])
def test_what_is_not_whole_is_not_exported(
    case: Baseline, store: Store, file: Path, harm: Callable[[Store, str], str], which: str
) -> None:
    before = file.read_bytes()
    what = harm(store, getattr(case, which))
    with pytest.raises(StoreError) as caught:
        export_baselines(store, [case], file)
    assert str(caught.value).startswith(f"{case.identity.file_name}: {what}")
    assert str(caught.value).endswith("; accept it again with --tvm-update")
    # The file that was there before is there.
    assert file.read_bytes() == before


def test_damaged_records_are_not_exported(case: Baseline, store: Store, file: Path) -> None:
    path = records_path(store, case.identity.file_name)
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(StoreError, match="not a gzip file"):
        export_baselines(store, [case], file)


def test_a_baseline_whose_file_has_another_name_or_is_gone_is_one_message(
    case: Baseline, store: Store, file: Path
) -> None:
    (store.baselines / case.identity.file_name).rename(store.baselines / "x.json")
    with pytest.raises(StoreError, match=case.identity.file_name):
        export_baselines(store, [case], file)


def test_an_export_to_a_folder_is_one_message(case: Baseline, store: Store, tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    with pytest.raises(StoreError, match=r"can't write .*folder: it is not a regular file"):
        export_baselines(store, [case], tmp_path / "folder")


def test_an_import_replaces_an_older_baseline_and_leaves_the_others(
    case: Baseline, target: Store, file: Path
) -> None:
    older = put_case(target, code=b"older")
    other = put_case(target, code=b"other", name="other")
    write_records(target, older.identity.file_name, [(KEY, workload(record(9.0, "slow")))])
    assert import_baselines(target, file) == [case]
    assert_whole(target, case)
    assert_whole(target, other)
    # What it was is there until `tvmtune gc` removes it.
    assert find(target, older.artifact).library.read_bytes() == b"older"
    assert [one.path.name for one in old_artifacts(target, before_s=days_ago(-1), max_bytes=None)
            ] == [older.artifact]  # fmt: skip


def test_importing_twice_changes_nothing(case: Baseline, target: Store, file: Path) -> None:
    import_baselines(target, file)
    before = contents(target.root)
    assert import_baselines(target, file) == [case]
    assert contents(target.root) == before


def test_an_import_heals_a_damaged_artifact(case: Baseline, target: Store, file: Path) -> None:
    import_baselines(target, file)
    (target.artifacts / case.artifact / "model.so").write_bytes(b"damaged")
    (target.artifacts / case.untuned / "manifest.json").unlink()
    import_baselines(target, file)
    assert_whole(target, case)


def test_cleaning_up_keeps_all_that_an_imported_baseline_needs(
    case: Baseline, target: Store, file: Path
) -> None:
    import_baselines(target, file)
    put_artifact(target, b"another")
    for path in target.artifacts.iterdir():
        age(path, 400)
    for removal in old_artifacts(target, before_s=days_ago(0), max_bytes=0):
        removal.carry_out()
    assert_whole(target, case)
    assert len(list(target.artifacts.iterdir())) == 2


def test_what_is_signed_travels_between_stores_of_one_key(
    store: Store, target: Store, file: Path, use_key: UseKey
) -> None:
    use_key("ours")
    accepted = put_case(store)
    export_baselines(store, [accepted], file)
    import_baselines(target, file)
    assert_whole(target, accepted)
    assert contents(target.root) == contents(store.root)


@pytest.mark.parametrize("first", ["", "theirs"])
def test_with_a_key_only_what_it_signed_is_taken_in(
    store: Store, target: Store, file: Path, use_key: UseKey, first: str
) -> None:
    use_key(first)
    export_baselines(store, [put_case(store)], file)
    use_key("ours")
    older = put_case(target, code=b"older")
    why = "signed with another key than" if first else "not signed, although TVMTUNE_KEY is set"
    assert why in assert_nothing_taken_in(target, file)
    assert_whole(target, older)


@pytest.mark.parametrize("part", ["baseline", "manifest", "untuned's manifest", "records"])
def test_each_part_must_be_signed_by_the_key(
    store: Store, target: Store, file: Path, use_key: UseKey, part: str
) -> None:
    accepted = put_case(store)
    export_baselines(store, [accepted], file)
    unsigned = unpacked(file)
    use_key("ours")
    write_baseline(store, accepted, [(KEY, RECORDS)])
    put_case(store)
    export_baselines(store, [accepted], file)
    content = unpacked(file)
    name = {
        "baseline": own(accepted, content),
        "records": its_records(accepted, content),
        "manifest": f"artifacts/{accepted.artifact}/manifest.json",
        "untuned's manifest": f"artifacts/{accepted.untuned}/manifest.json",
    }[part]
    content[name] = unsigned[name]
    said = assert_nothing_taken_in(target, packed(file, content))
    assert "not signed, although TVMTUNE_KEY is set" in said
    assert said.endswith("; nothing was imported")


def test_a_baseline_changed_inside_the_file_is_refused_with_its_key(
    store: Store, target: Store, file: Path, use_key: UseKey
) -> None:
    use_key("ours")
    accepted = put_case(store)
    export_baselines(store, [accepted], file)
    content = unpacked(file)
    change_baseline(accepted, content, artifact=accepted.untuned)
    assert "or changed after" in assert_nothing_taken_in(target, packed(file, content))
    # Nor may one baseline stand in for another, signed as it is.
    content = unpacked(file)
    other = replace(IDENTITY, function="test_other")
    loaded = json.loads(content[own(accepted, content)])
    loaded["identity"] = asdict(other)
    del loaded["hmac"]
    moved = sign_json(f"baseline {IDENTITY.file_name}", loaded)
    del content[own(accepted, content)]
    content[f"baselines/{other.file_name}"] = json.dumps(moved).encode()
    assert "or changed after" in assert_nothing_taken_in(target, packed(file, content))


def test_the_records_of_one_baseline_are_not_anothers_in_the_file(
    store: Store, target: Store, file: Path, use_key: UseKey
) -> None:
    use_key("ours")
    one, two = (put_case(store, code=code, name=code.decode()) for code in (b"one", b"two"))
    write_records(store, two.identity.file_name, [(KEY, workload(record(9.0, "slow")))])
    export_baselines(store, [one, two], file)
    content = unpacked(file)
    content[its_records(one, content)] = content[its_records(two, content)]
    assert_nothing_taken_in(target, packed(file, content))


def test_what_is_signed_is_taken_in_without_a_key_and_stays_signed(
    store: Store, target: Store, file: Path, use_key: UseKey
) -> None:
    use_key("ours")
    accepted = put_case(store)
    export_baselines(store, [accepted], file)
    use_key("")
    import_baselines(target, file)
    assert_whole(target, accepted)
    use_key("ours")
    assert_whole(target, accepted)


def test_what_the_key_did_not_sign_is_not_exported(
    case: Baseline, store: Store, file: Path, use_key: UseKey
) -> None:
    before = file.read_bytes()
    use_key("ours")
    with pytest.raises(StoreError, match="not signed"):
        export_baselines(store, [case], file)
    assert file.read_bytes() == before
