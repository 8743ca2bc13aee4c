"""Damaged files of tuning records: set aside, their valid lines kept, one warning each."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest

from pytest_tvmtune.core.errors import StoreError
from pytest_tvmtune.store.layout import Store, open_store
from pytest_tvmtune.store.tuning.workload_files import (
    add_to_workload,
    check_workload_file,
    file_version,
    read_workload,
)
from tests.support.sample_records import (
    HEAD,
    KEY,
    RECORD,
    SERVED,
    SHASH,
    data,
    head,
    ir_of,
    line,
    path_of,
    put,
    read_with_warnings,
    record,
    refusal,
    served,
    workload,
)

KNOWN = workload(record(1e-3), served=(served(64),))


def bad_record(**values: Any) -> bytes:
    return line("record", **{**asdict(record(1.0, "other")), **values})


def bad_served(**values: Any) -> bytes:
    return line("served", **{**asdict(served(32)), **values})


def without(good: bytes, name: str) -> bytes:
    row = json.loads(good)
    del row[name]
    return json.dumps(row).encode() + b"\n"


DAMAGE = {
    "truncated last line": RECORD[:-20],
    "last line without its end": SERVED[:-1],
    "blank line": b"\n",
    "null": b"null\n",
    "binary": b"\x00\xff\xfe\x80\n",
    "a number": b"5\n",
    "a list": b"[]\n",
    "foreign json": b'{"tool": "something else"}\n',
    "unknown kind": line("model", name="x"),
    "kind is a list": b'{"kind": []}\n',
    "kind is null": b'{"kind": null}\n',
    "conflict: ours": b"<<<<<<< HEAD\n",
    "conflict: middle": b"=======\n",
    "conflict: theirs": b">>>>>>> theirs\n",
    "deeply nested": b"[" * 100_000 + b"\n",
    "a number of too many digits": b"9" * 5000 + b"\n",
    "failed candidate": bad_record(data=data(1e10)),
    "no times": bad_record(data=[[], [], {}, []]),
    "times as text": bad_record(data=[[], ["1"], {}, []]),
    "time is nan": bad_record(data=data(float("nan"))),
    "time is negative": bad_record(data=data(-1.0)),
    "data of three": bad_record(data=data(1.0)[:3]),
    "data is a dict": bad_record(data={}),
    "trace is a dict": bad_record(data=[{}, *data(1.0)[1:]]),
    "target is text": bad_record(data=[*data(1.0)[:2], "llvm", []]),
    "record without cpu": without(RECORD, "cpu"),
    "record without data": without(RECORD, "data"),
    "record with more": bad_record(surplus=1),
    "cpu is a list": bad_record(cpu=[]),
    "cores is a bool": bad_record(cores=True),
    "cores is a float": bad_record(cores=8.0),
    "num_threads is text": bad_record(num_threads="4"),
    "trace imports C": bad_record(data=[[[["Annotate", ["l"], ["pragma_import_c"]]], []],
                                        *data(1.0)[1:]]),
    "served without run_id": without(SERVED, "run_id"),
    "served as it was before": line("served", trials=64, max_trials_per_task=None, spent=1),
    "trials is text": bad_served(trials="many"),
    "trials is a bool": bad_served(trials=True),
    "cap is a bool": bad_served(max_trials_per_task=False),
    "spent is a list": bad_served(spent=[1]),
    "complete is a number": bad_served(complete=1),
    "at_s is a bool": bad_served(at_s=True),
    "at_s is text": bad_served(at_s="2024-01-01"),
    "reason is null": bad_served(reason=None),
    "refused without reason": line("refused", digest="ab"),
    "digest is a number": line("refused", digest=5, reason=""),
    "workload without ir": without(HEAD, "ir"),
    "workload with a number": head(ir=5),
    "name is null": head(name=None),
    "format is a bool": head(format=True),
    "other format": head(format=2, ir=ir_of("new")),
    "ir is no base64": head(ir="ir of it"),
    "ir is not ascii": head(ir="grüße"),
    "a second workload's line": head(shash="ff" * 8, ir=ir_of("its")),
    "another target's line": head(key="cuda-tvm0.27-0123456789ab", ir=ir_of("its")),
}  # fmt: skip


# Not told yet.
BELIEVED = {
    "time is a bool": bad_record(data=data(True)),
    "at_s without bound": bad_served(at_s=float("inf"), run_id="x"),
    "at_s is nan": bad_served(at_s=float("nan"), run_id="x"),
    "spent is negative": bad_served(spent=-5, run_id="x"),
}


@pytest.mark.parametrize("damage", BELIEVED)
def test_values_that_can_not_be_are_damage_too(store: Store, damage: str) -> None:
    put(path_of(store), HEAD + BELIEVED[damage])
    assert check_workload_file(store, KEY, SHASH)[1]


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_line_is_set_aside_the_valid_ones_kept_with_one_warning(
    store: Store, damage: str
) -> None:
    content = HEAD + RECORD + SERVED + DAMAGE[damage]
    path = put(path_of(store), content)
    found, said = read_with_warnings(store)
    assert found == KNOWN
    assert len(said) == 1
    assert said[0].startswith(f"tuning store: {path.name} is damaged (")
    aside = path.with_name(f"{path.name}.damaged")
    assert said[0].endswith(f"and was renamed to {aside}")
    assert aside.read_bytes() == content
    # Repaired: the next read and a merge have nothing to complain about.
    assert read_with_warnings(store) == (KNOWN, [])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        whole = add_to_workload(store, KEY, workload(record(5.0, "z")))
    assert whole.best("this CPU") == record(1e-3)


def test_looking_at_a_damaged_file_changes_nothing(store: Store) -> None:
    path = put(path_of(store), HEAD + RECORD + b"garbage\n")
    before = file_version(path), path.read_bytes()  # not all of stat(): reading changes st_atime
    known, problem = check_workload_file(store, KEY, SHASH)
    assert known == workload(record(1e-3))
    assert problem == "line 3: not a line of a tuning file"
    assert (file_version(path), path.read_bytes()) == before
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"", "it has no workload line"),
        (RECORD + SERVED, "it has no workload line"),
        (b"\x00" * 100, "line 1: not a line of a tuning file"),
        (b"null\n", "line 1: not a line of a tuning file"),
        (b"{}", "line 1: not a line of a tuning file"),
        (HEAD[:-30], "line 1: not a line of a tuning file"),
        (head(format=2) + RECORD, "line 1: it has format 2, and this version reads format 1"),
        (head(shash="ff" * 8) + RECORD, f"line 1: it belongs to {KEY}/{'ff' * 8}"),
        (head(key="x-tvm0.27-0") + RECORD, f"line 1: it belongs to x-tvm0.27-0/{SHASH}"),
        (head(ir="?") + RECORD, "line 1: the IR is not base64"),
        (line("workload", name="x", ir=ir_of("x")) + RECORD, "line 1: not a workload"),
    ],
)
def test_a_file_without_its_workload_line_is_set_aside_whole(
    store: Store, content: bytes, problem: str
) -> None:
    path = put(path_of(store), content)
    found, said = read_with_warnings(store)
    assert found is None
    assert len(said) == 1
    assert f"{path.name} is damaged ({problem}" in said[0]
    assert not path.exists()
    assert path.with_name(f"{path.name}.damaged").read_bytes() == content
    add_to_workload(store, KEY, KNOWN)
    assert read_with_warnings(store) == (KNOWN, [])


def test_a_file_copied_under_another_name_is_not_believed(store: Store) -> None:
    add_to_workload(store, KEY, KNOWN)
    content = path_of(store).read_bytes()
    other = "ff" * 8
    put(path_of(store, other), content)
    put(store.tuning / "cuda-tvm0.27-0123456789ab" / f"{SHASH}.jsonl", content)
    found, said = read_with_warnings(store, other)
    assert found is None
    assert len(said) == 1
    with pytest.warns(UserWarning, match=f"it belongs to {KEY}/{SHASH}"):
        assert read_workload(store, "cuda-tvm0.27-0123456789ab", SHASH) is None
    assert path_of(store).read_bytes() == content


def test_git_conflict_markers_around_lines_lose_none_of_them(store: Store) -> None:
    ours, theirs = (line("record", **asdict(record(s, n))) for s, n in ((2e-3, "o"), (3e-3, "i")))
    marked = b"<<<<<<< HEAD\n" + ours + b"=======\n" + theirs + b">>>>>>> theirs\n"
    put(path_of(store), HEAD + RECORD + marked + SERVED)
    found, said = read_with_warnings(store)
    assert found == replace(KNOWN, records=(record(1e-3), record(2e-3, "o"), record(3e-3, "i")))
    assert len(said) == 1
    assert "(line 3: not a line of a tuning file)" in said[0]


def test_adding_to_a_damaged_file_sets_it_aside_too(store: Store) -> None:
    content = HEAD + RECORD + b"garbage\n"
    path = put(path_of(store), content)
    with pytest.warns(UserWarning, match=path.name) as caught:
        whole = add_to_workload(store, KEY, workload(record(2e-3, "new")))
    assert len(caught) == 1
    assert [r.mean_s for r in whole.records] == [1e-3, 2e-3]
    assert path.with_name(f"{path.name}.damaged").read_bytes() == content
    assert read_with_warnings(store) == (whole, [])


def test_adding_to_a_file_that_is_lost_makes_a_new_one(store: Store) -> None:
    path = put(path_of(store), b"\x00" * 50)
    with pytest.warns(UserWarning, match=path.name):
        assert add_to_workload(store, KEY, KNOWN) == KNOWN
    assert read_with_warnings(store) == (KNOWN, [])


def test_what_was_set_aside_before_stays(store: Store) -> None:
    contents = [HEAD + text for text in (b"first\n", b"second\n", b"third\n")]
    for content in contents:
        put(path_of(store), content)
        _, said = read_with_warnings(store)
        assert len(said) == 1
    name = f"{SHASH}.jsonl"
    asides = [f"{name}.damaged", f"{name}.2.damaged", f"{name}.3.damaged"]
    assert [path_of(store).with_name(one).read_bytes() for one in asides] == contents
    assert str(path_of(store).with_name(asides[2])) in said[0]


def test_the_valid_lines_are_kept_where_warnings_are_errors(store: Store) -> None:
    put(path_of(store), HEAD + RECORD + SERVED + b"garbage\n")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(UserWarning, match="is damaged"):
            read_workload(store, KEY, SHASH)
        assert read_workload(store, KEY, SHASH) == KNOWN


def test_a_file_that_can_not_be_read_is_a_store_error_that_names_it(
    public_path: Path, unprivileged: Callable[[], AbstractContextManager[None]]
) -> None:
    store = open_store(public_path)
    add_to_workload(store, KEY, KNOWN)
    path_of(store).chmod(0)
    with unprivileged(), pytest.raises(StoreError, match=SHASH):
        read_workload(store, KEY, SHASH)


def test_refused_lines_survive_damage(store: Store) -> None:
    refused = line("refused", **asdict(refusal(record(2.0, "bad"))))
    put(path_of(store), HEAD + RECORD + refused + b"garbage\n")
    found, _ = read_with_warnings(store)
    assert found == workload(record(1e-3), refused=(refusal(record(2.0, "bad")),))
    assert read_with_warnings(store) == (found, [])
