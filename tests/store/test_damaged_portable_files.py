"""Files of baselines that aren't whole: nothing at all is taken in, and one message says why."""

from __future__ import annotations

import gzip
import hashlib
import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from pytest_tvmtune.core.errors import StoreError
from pytest_tvmtune.core.gating.accepted_baseline import Baseline
from pytest_tvmtune.store.accepted.baseline_files import (
    read_baseline,
    read_records,
    records_path,
    write_records,
)
from pytest_tvmtune.store.accepted.portable_baselines import export_baselines, import_baselines
from pytest_tvmtune.store.artifacts import find
from pytest_tvmtune.store.layout import Store
from tests.store.sample_portable import (
    Content,
    assert_nothing_taken_in,
    assert_whole,
    change_baseline,
    its_records,
    own,
    packed,
    unpacked,
)
from tests.support.sample_records import HEAD, KEY, record, workload
from tests.support.sample_store import IDENTITY, RECORDS, put_case


def flipped(data: bytes) -> bytes:
    return data[:-1] + bytes([data[-1] ^ 1])


def drop_artifact(case: Baseline, content: Content) -> str:
    del content[f"artifacts/{case.artifact}/model.so"]
    return f"artifact {case.artifact[:12]} is missing"


def drop_untuned(case: Baseline, content: Content) -> str:
    for part in ("model.so", "manifest.json"):
        del content[f"artifacts/{case.untuned}/{part}"]
    return f"artifact {case.untuned[:12]} is missing"


def flip_artifact(case: Baseline, content: Content) -> str:
    name = f"artifacts/{case.artifact}/model.so"
    content[name] = flipped(content[name])
    return f"artifact {case.artifact[:12]} is damaged"


def flip_untuned(case: Baseline, content: Content) -> str:
    name = f"artifacts/{case.untuned}/model.so"
    content[name] = flipped(content[name])
    return f"artifact {case.untuned[:12]} is damaged"


def swap_artifacts(case: Baseline, content: Content) -> str:
    one, two = (f"artifacts/{digest}/model.so" for digest in (case.artifact, case.untuned))
    content[one], content[two] = content[two], content[one]
    return f"artifact {case.artifact[:12]} is damaged"


def drop_manifest(case: Baseline, content: Content) -> str:
    del content[f"artifacts/{case.artifact}/manifest.json"]
    return ""


def empty_manifest(case: Baseline, content: Content) -> str:
    content[f"artifacts/{case.untuned}/manifest.json"] = b"{}"
    return "not a manifest"


def list_manifest(case: Baseline, content: Content) -> str:
    content[f"artifacts/{case.untuned}/manifest.json"] = b"[]"
    return "not a manifest"


def no_utf8_manifest(case: Baseline, content: Content) -> str:
    content[f"artifacts/{case.untuned}/manifest.json"] = b'{"target": "\xe9"}'
    return "can't decode"


def rename_inside(case: Baseline, content: Content) -> str:
    content["baselines/other.json"] = content.pop(own(case, content))
    return f"baselines/other.json belongs to {case.identity.file_name}"


def change_identity(case: Baseline, content: Content) -> str:
    other = replace(case.identity, function="test_other")
    change_baseline(case, content, identity=asdict(other))
    return f"belongs to {other.file_name}"


def damage_baseline(case: Baseline, content: Content) -> str:
    content[own(case, content)] = content[own(case, content)][:-10]
    return ""


def old_schema(case: Baseline, content: Content) -> str:
    change_baseline(case, content, schema=1)
    return "not a baseline of schema 2"


def lead_out(case: Baseline, content: Content) -> str:
    change_baseline(case, content, artifact="../../precious")
    return "at `$.artifact`"


def truncate_records(case: Baseline, content: Content) -> str:
    content[its_records(case, content)] = content[its_records(case, content)][:-1]
    return "not a gzip file"


def damage_records(case: Baseline, content: Content) -> str:
    content[its_records(case, content)] = gzip.compress(HEAD + b"garbage\n")
    return "line 2: not a line of a tuning file"


def evil_records(case: Baseline, content: Content) -> str:
    evil = {**asdict(record(1.0)), "data": [[[["Annotate", ["l"], ["pragma_import_c"]]], []],
                                            [1.0], {"kind": "llvm"}, []]}  # fmt: skip
    line = json.dumps({"kind": "record", **evil}).encode() + b"\n"
    content[its_records(case, content)] = gzip.compress(HEAD + line)
    return "refused: its trace contains code"


def damage_the_second(case: Baseline, content: Content) -> str:
    content["baselines/z.json"] = b"{}"
    return "not a baseline of schema 2"


CHANGES = [
    drop_artifact, drop_untuned, flip_artifact, flip_untuned, swap_artifacts, drop_manifest,
    empty_manifest, list_manifest, no_utf8_manifest, rename_inside, change_identity,
    damage_baseline, old_schema, lead_out, truncate_records, damage_records, evil_records,
    damage_the_second,
]  # fmt: skip


@pytest.mark.parametrize("change", CHANGES)
def test_nothing_at_all_is_taken_in_when_anything_is_not_whole(
    case: Baseline, target: Store, file: Path, change: Callable[[Baseline, Content], str]
) -> None:
    put_case(target, code=b"older")
    content = unpacked(file)
    what = change(case, content)
    said = assert_nothing_taken_in(target, packed(file, content))
    assert what in said
    assert said.endswith("; nothing was imported")


def drop_records(case: Baseline, content: Content) -> None:
    del content[its_records(case, content)]


def add_a_wrong_artifact(case: Baseline, content: Content) -> None:
    content[f"artifacts/{'0' * 64}/model.so"] = b"code"


def add_records_of_another(case: Baseline, content: Content) -> None:
    other = replace(case.identity, name="other").file_name
    content[f"baselines/{other.replace('.json', '.records.jsonl.gz')}"] = b"damaged"


def add_a_manifest_of_another(case: Baseline, content: Content) -> None:
    digest = hashlib.sha256(b"other").hexdigest()
    content[f"artifacts/{digest}/manifest.json"] = b"damaged"


def damage_an_artifact_of_another(case: Baseline, content: Content) -> None:
    content[f"artifacts/{hashlib.sha256(b'other').hexdigest()}/model.so"] = b"damaged"


def drop_all_baselines(case: Baseline, content: Content) -> None:
    for name in [name for name in content if name.startswith("baselines/")]:
        del content[name]


def nothing(case: Baseline, content: Content) -> None:
    content.clear()


def add_a_name_that_is_too_long(case: Baseline, content: Content) -> None:
    content[f"baselines/{'x' * 300}.records.jsonl.gz"] = b""


@pytest.mark.parametrize(
    "change",
    [drop_records, add_a_wrong_artifact, add_records_of_another, add_a_manifest_of_another,
     damage_an_artifact_of_another, drop_all_baselines, nothing, add_a_name_that_is_too_long],
)  # fmt: skip
def test_what_no_baseline_in_the_file_needs_is_not_taken_in_either(
    case: Baseline, target: Store, file: Path, change: Callable[[Baseline, Content], None]
) -> None:
    put_case(target, code=b"other", name="other")
    content = unpacked(file)
    change(case, content)
    assert_nothing_taken_in(target, packed(file, content))


def test_the_records_of_a_replaced_baseline_never_stay(
    case: Baseline, store: Store, target: Store, file: Path
) -> None:
    put_case(target, code=b"older")
    write_records(target, IDENTITY.file_name, [(KEY, workload(record(9.0, "older")))])
    records_path(store, IDENTITY.file_name).unlink()
    try:
        export_baselines(store, [case], file)
        import_baselines(target, file)
    except StoreError:
        return
    assert read_records(target, IDENTITY) == []


def test_no_imported_baseline_is_ever_without_its_records(
    case: Baseline, target: Store, file: Path
) -> None:
    records_path(target, IDENTITY.file_name).mkdir(parents=True)
    with pytest.raises(StoreError, match="it is not a regular file"):
        import_baselines(target, file)
    assert read_baseline(target, IDENTITY) is None


@pytest.mark.parametrize("what", ["baseline", "manifest", "identity"])
def test_values_that_nobody_thought_of_are_one_message(
    case: Baseline, target: Store, file: Path, what: str
) -> None:
    content = unpacked(file)
    if what == "identity":
        change_baseline(case, content, identity={**asdict(case.identity), "path": 5})
    else:
        name = (
            own(case, content) if what == "baseline" else f"artifacts/{case.artifact}/manifest.json"
        )
        content[name] = b"[" * 100_000
    assert_nothing_taken_in(target, packed(file, content))


FULL_DISK = """
import resource, sys
from pathlib import Path
from pytest_tvmtune.core.errors import StoreError
from pytest_tvmtune.store.layout import Store
from pytest_tvmtune.store.accepted.portable_baselines import import_baselines
resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000))
try:
    import_baselines(Store(root=Path(sys.argv[1])), Path(sys.argv[2]))
except StoreError as error:
    print(error)
"""


def test_a_full_disk_leaves_the_older_baseline_with_all_it_needs(
    store: Store, target: Store, file: Path
) -> None:
    # "model.so" comes after "manifest.json", and of one of the artifacts only the library is big.
    accepted = put_case(store, code=b"big" * 1000)
    export_baselines(store, [accepted], file)
    older = put_case(target, code=b"older")
    done = subprocess.run(
        [sys.executable, "-c", FULL_DISK, str(target.root), str(file)],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert "can't write" in done.stdout
    assert "File too large" in done.stdout
    assert read_baseline(target, IDENTITY) == older
    assert read_records(target, IDENTITY) == [(KEY, RECORDS)]
    for digest in (older.artifact, older.untuned):
        assert find(target, digest).sha256 == digest
    assert [path for path in target.root.rglob(".*") if path.name != ".gitignore"] == []
    # And then, with room, it goes on.
    import_baselines(target, file)
    assert_whole(target, accepted)
