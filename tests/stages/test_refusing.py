"""Records that no longer apply or build: refused for good, and the next best ones tried."""

from __future__ import annotations

import json
import shutil
import warnings
from pathlib import Path
from typing import Any

import pytest

from pytest_tvmtune.core.errors import ChildError
from pytest_tvmtune.stages.case import Case
from pytest_tvmtune.store.layout import Store, open_store
from tests.support.cases import build_of, build_with_records, built_run, opener
from tests.support.modules import OpenCase, Square

UNKNOWN = ["Tensorize", ["l0", 1], ["no_such_intrinsic"], []]


def files_of(case: Case) -> dict[str, Path]:
    """Return the file of each task, by the task's name."""
    key_and_files = case.store.tuning.rglob("*.jsonl")
    named = {}
    for path in key_and_files:
        head = json.loads(path.read_text().splitlines()[0])
        named[head["name"]] = path
    return named


def rewrite(path: Path, kind: str, change: Any) -> None:
    """Change every line of a kind."""
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    for row in rows:
        if row["kind"] == kind:
            change(row)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


@pytest.fixture(scope="module")
def tuned_store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    store = open_store(tmp_path_factory.mktemp("tuned") / "store")
    build_with_records(opener(store)(Square, settings={"trials": 8}))
    return store


@pytest.fixture
def tuned(tuned_store: Store, open_: OpenCase) -> Case:
    """Return the tuned case, on a store of the test's own."""
    case: Case = open_(Square, settings={"trials": 8})
    shutil.copytree(tuned_store.root, case.store.root, dirs_exist_ok=True)
    return case


def test_a_record_that_cannot_be_applied_is_refused_and_the_next_best_taken(
    tuned: Case, open_: OpenCase
) -> None:
    path = files_of(tuned)["matmul"]
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    best = next(row for row in rows if row["kind"] == "record")
    worse = json.loads(json.dumps(best))
    best["data"][0][0].append(UNKNOWN)
    best["data"][1] = [1e-9]
    path.write_text("".join(json.dumps(row) + "\n" for row in [*rows, worse]))

    again = open_(Square, settings={"trials": 8})
    with pytest.warns(UserWarning, match=r"a record of matmul .* was refused") as caught:
        run = built_run(again)
    built = run.built
    assert len(caught) == 1
    assert run.result.tuned_tasks == 2
    assert built.artifact.library.is_file()
    assert not run.result.tuned_now
    text = path.read_text()
    assert text.count('"kind": "refused"') == 1
    assert "no_such_intrinsic" not in "".join(
        line for line in text.splitlines() if '"kind": "record"' in line
    )
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        third = built_run(open_(Square, settings={"trials": 8}))
    assert third.built.artifact.sha256 == built.artifact.sha256
    assert not third.result.compiled_now


def test_when_all_records_are_refused_the_task_is_untuned_with_the_reason(
    tuned: Case, open_: OpenCase
) -> None:
    path = files_of(tuned)["matmul"]
    rewrite(path, "record", lambda row: row["data"][0][0].append(UNKNOWN))
    lines = path.read_text().splitlines(keepends=True)
    records = [line for line in lines if '"kind": "record"' in line]
    # Two of them: each is found by a build of its own.
    path.write_text("".join(line for line in lines if line not in records[2:]))
    again = open_(Square, settings={"trials": 8})
    with pytest.warns(UserWarning, match="was refused"):
        run = built_run(again)
    states = {task.name: task for task in run.result.tasks}
    assert states["transpose"].state == "tuned"
    assert states["matmul"].state == "failed"
    assert states["matmul"].reason


def test_a_file_whose_ir_is_another_workloads_is_set_aside(tuned: Case, open_: OpenCase) -> None:
    files = files_of(tuned)
    heads = {name: json.loads(path.read_text().splitlines()[0]) for name, path in files.items()}
    rewrite(files["matmul"], "workload", lambda row: row.update(ir=heads["transpose"]["ir"]))
    for path in tuned.store.builds.iterdir():
        path.unlink()  # else there would be nothing to compile
    again = open_(Square, settings={"trials": 8})
    with pytest.warns(UserWarning, match="its IR doesn't match the hash in its name"):
        run = built_run(again)
    assert files["matmul"].with_name(f"{files['matmul'].name}.damaged").is_file()
    states = {task.name: task.state for task in run.result.tasks}
    assert states == {"transpose": "tuned", "matmul": "untuned"}


def test_a_model_that_cannot_be_built_without_records_either_blames_none(
    tuned: Case, open_: OpenCase, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Here the linker never ends."""
    linker = tmp_path / "linker"
    linker.write_text("#!/bin/sh\nexec sleep 600\n")
    linker.chmod(0o755)
    monkeypatch.setenv("CXX", str(linker))
    for path in tuned.store.builds.iterdir():
        path.unlink()
    before = {path: path.read_bytes() for path in files_of(tuned).values()}
    again = open_(Square, settings={"trials": 8, "timeout": 3})
    with pytest.raises(ChildError, match="no answer within"):
        build_of(again)
    assert {path: path.read_bytes() for path in before} == before


def test_a_record_that_cannot_be_applied_spoils_no_later_search(
    tuned: Case, open_: OpenCase
) -> None:
    """The best one is fine, so that building never notices."""
    path = files_of(tuned)["matmul"]
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    spoilt = json.loads(json.dumps(next(row for row in rows if row["kind"] == "record")))
    spoilt["data"][0][0].append(UNKNOWN)
    spoilt["data"][1] = [1.0]
    path.write_text("".join(json.dumps(row) + "\n" for row in [*rows, spoilt]))
    more = built_run(open_(Square, settings={"trials": 16}))
    assert more.result.tuned_now
    assert more.result.trials_spent >= 1
    assert more.result.tuned_tasks == 2
    assert path.read_text().count('"kind": "refused"') == 1


def test_records_of_another_machine_are_measured_here_before_they_count(
    tuned: Case, open_: OpenCase
) -> None:
    """Its times are no yardstick: a thousand times faster, they would make all else hopeless."""
    path = files_of(tuned)["matmul"]

    def move(row: dict[str, Any]) -> None:
        row["cpu"] = "Babbage Engine"
        row["data"][1] = [row["data"][1][0] / 1000]

    rewrite(path, "record", move)
    more = built_run(open_(Square, settings={"trials": 24}))
    known = [json.loads(line) for line in path.read_text().splitlines()]
    records = [row for row in known if row["kind"] == "record"]
    own = [row for row in records if row["cpu"] != "Babbage Engine"]
    assert own
    assert all(row["data"][1][0] > 0 for row in own)
    assert not any(task.measured_on_other_cpu for task in more.result.tasks)
