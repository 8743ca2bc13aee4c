"""Records of another version of TVM: replayed for the same task, wherever they come from.

The other version is this one under another name, with other structural hashes, as another version
has. Real ones are in `tests/versions`.
"""

from __future__ import annotations

import base64
import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pytest_tvmtune.core.comparing.outputs_comparison import compare
from pytest_tvmtune.processes.job import WorkerContext
from pytest_tvmtune.stages import replaying
from pytest_tvmtune.stages.compiling import load
from pytest_tvmtune.stages.tuning_tasks import stored_workloads
from pytest_tvmtune.store.layout import Store, open_store
from pytest_tvmtune.store.tuning.record_lines import dump, parse
from pytest_tvmtune.store.tuning.records import Untuned, Workload, is_other_version
from pytest_tvmtune.store.tuning.work_dirs import write_work_dir
from pytest_tvmtune.store.tuning.workload_files import add_to_workload
from pytest_tvmtune.store.tuning.workload_ir import ir_text
from tests.support.cases import build_with_records, built_run, opener
from tests.support.modules import NotMain, Scaled

RNG = np.random.default_rng(13)
X, W, B = (RNG.standard_normal(shape, "float32") for shape in ((2, 4), (6, 4), (6,)))
GIVEN = {"params": [W, B], "inputs": [X]}
OTHER = "0.26"
# Prepack -> (store of another version, its workloads, library with its schedules).
Tuned = dict[bool, tuple[Store, list[Workload], str]]


def as_of_another_version(store: Store) -> list[Workload]:
    """Move a store's records to another version; return what was there."""
    found = []
    for path in list(store.tuning.rglob("*.jsonl")):
        key, shash = path.parent.name, path.stem
        workload, problem = parse(key, shash, path.read_bytes())
        assert workload is not None, problem
        found.append(workload)
        kind, _, digest = key.split("-")
        other_key = f"{kind}-tvm{OTHER}-{digest}"
        other_hash = f"{int(shash, 16) ^ 0xFFFF:016x}"
        moved = store.tuning / other_key / f"{other_hash}.jsonl"
        moved.parent.mkdir(exist_ok=True)
        moved.write_text(dump(other_key, replace(workload, shash=other_hash)))
        path.unlink()
    return found


def as_written_by_another(ir: str) -> str:
    version = f'"tvm_version": "{OTHER}.0"'
    text, count = re.subn(r'"tvm_version":\s*"[^"]+"', version, ir_text(ir))
    assert count == 1
    return base64.b64encode(text.encode()).decode()


@pytest.fixture(scope="module")
def tuned(tmp_path_factory: pytest.TempPathFactory) -> Tuned:
    made = {}
    for prepack in (False, True):
        store = open_store(tmp_path_factory.mktemp("old") / "store")
        case = opener(store)(NotMain, prepack=prepack, settings={"trials": 6}, **GIVEN)
        built = build_with_records(case)
        made[prepack] = (store, as_of_another_version(store), built.artifact.sha256)
    return made


@pytest.fixture
def in_this_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Let the job run where its coverage is measured; return the list of those that ran."""
    jobs: list[Any] = []

    def run_here(job: Any, request: Any, context: Any) -> Any:
        jobs.append(job)
        return job.run(request, WorkerContext[None](folder=tmp_path))

    monkeypatch.setattr(replaying, "run_job", run_here)
    return jobs


@pytest.mark.parametrize("prepack", [False, True], ids=["plain", "prepack"])
def test_without_trials_they_are_applied_and_said_to_be_replayed(
    tuned: Tuned, prepack: bool, tmp_path: Path
) -> None:
    old, _, library = tuned[prepack]
    store = replace(open_store(tmp_path / "store"), fallbacks=(old.root,))
    case = opener(store)(
        NotMain, prepack=prepack, settings={"trials": 6, "tuning": "never"}, **GIVEN
    )
    run = built_run(case)
    assert run.result.tasks
    assert {(task.state, task.replayed_from) for task in run.result.tasks} == {("tuned", OTHER)}
    assert run.result.warnings == []
    assert run.built.artifact.sha256 == library
    assert compare(load(case, run.built).outputs(), X @ W.T + B, against="numpy").passed

    again = built_run(case)
    assert again.result.tasks == run.result.tasks
    assert not again.result.compiled_now


def test_with_trials_they_are_measured_first(tuned: Tuned, tmp_path: Path) -> None:
    old, workloads, _ = tuned[False]
    store = replace(open_store(tmp_path / "store"), fallbacks=(old.root,))
    run = built_run(opener(store)(NotMain, settings={"trials": len(workloads)}, **GIVEN))
    assert run.result.trials_spent == len(workloads)  # one each
    assert {task.replayed_from for task in run.result.tasks} == {""}
    stored = stored_workloads(run.case, run.built.plan)
    best = {record.digest for workload in workloads for record in workload.records}
    for workload in stored.values():
        measured = [record for record in workload.records if not record.replayed_from]
        assert {record.digest for record in measured} <= best
        assert len(measured) == 1


def test_prepacked_and_plain_workloads_are_apart(
    tuned: Tuned, tmp_path: Path, in_this_process: list[Any]
) -> None:
    old, _, _ = tuned[True]
    store = replace(open_store(tmp_path / "store"), fallbacks=(old.root,))
    run = built_run(opener(store)(NotMain, settings={"tuning": "never"}, **GIVEN))
    states = {task.state for task in run.result.tasks if "matmul" in task.name}
    assert states == {"untuned"}


def test_a_stock_work_dir_of_another_version(
    tuned: Tuned, tmp_path: Path, in_this_process: list[Any]
) -> None:
    _, workloads, library = tuned[False]
    work_dir = tmp_path / "work_dir"
    work_dir.mkdir()
    others = [
        replace(one, shash=f"{int(one.shash, 16) ^ 0xFF:016x}", ir=as_written_by_another(one.ir))
        for one in workloads
    ]
    write_work_dir(work_dir, [(one, one.records) for one in others])
    settings = {"tuning": "never", "work_dir": str(work_dir)}
    run = built_run(opener(open_store(tmp_path / "store"))(NotMain, settings=settings, **GIVEN))
    assert {task.replayed_from for task in run.result.tasks} == {OTHER}
    assert run.built.artifact.sha256 == library


def test_a_trace_that_does_not_apply_is_said_and_not_used(
    tuned: Tuned, tmp_path: Path, in_this_process: list[Any]
) -> None:
    old, _, _ = tuned[False]
    store = open_store(tmp_path / "store")
    for path in old.tuning.rglob("*.jsonl"):
        copy = store.tuning / path.parent.name / path.name
        copy.parent.mkdir(parents=True, exist_ok=True)
        lines = [json.loads(line) for line in path.read_text().splitlines()]
        for line in lines:
            if line["kind"] == "record":
                for instruction in line["data"][0][0]:
                    if instruction[0] == "GetSBlock":
                        instruction[2][0] = "no_such_block"
        copy.write_text("".join(json.dumps(line) + "\n" for line in lines))
    run = built_run(opener(store)(NotMain, settings={"tuning": "never"}, **GIVEN))
    assert {task.state for task in run.result.tasks} == {"untuned"}
    assert all(task.reason.startswith(f"replayed from {OTHER}: ") for task in run.result.tasks)
    assert run.result.warnings == []


def test_records_that_match_no_task_are_tried_once(
    tuned: Tuned, tmp_path: Path, in_this_process: list[Any]
) -> None:
    old, _, _ = tuned[False]
    store = replace(open_store(tmp_path / "store"), fallbacks=(old.root,))
    x, w = (RNG.standard_normal(shape, "float32") for shape in ((2, 8), (8, 8)))
    for _ in range(3):
        given = {"params": [w, np.float32(2)], "inputs": [x]}
        run = built_run(opener(store)(Scaled, settings={"tuning": "never"}, **given))
        assert {task.state for task in run.result.tasks} == {"untuned"}
    assert len(in_this_process) == 1


def test_records_of_another_target_are_not_replayed() -> None:
    key = "llvm-tvm0.27-0123456789ab"
    assert is_other_version(key, "llvm-tvm0.26-0123456789ab")
    assert not is_other_version(key, "llvm-tvm0.26-ba9876543210")
    assert not is_other_version(key, key)


def test_a_task_gets_its_own_record_rather_than_a_faster_one_of_its_family(
    tuned: Tuned, tmp_path: Path, in_this_process: list[Any]
) -> None:
    old, workloads, _ = tuned[False]
    (other_key,) = (path.name for path in old.tuning.iterdir() if OTHER in path.name)
    copies = open_store(tmp_path / "copies")
    for workload in workloads:
        faster = tuple(
            replace(one, data=[one.data[0], [1e-9], *one.data[2:]]) for one in workload.records
        )
        other = replace(workload, name=f"{workload.name}7", records=faster, untuned=())
        add_to_workload(copies, other_key, other)
    store = replace(open_store(tmp_path / "store"), fallbacks=(copies.root, old.root))
    run = built_run(opener(store)(NotMain, settings={"tuning": "never"}, **GIVEN))
    assert {task.replayed_from for task in run.result.tasks} == {OTHER}
    for workload in stored_workloads(run.case, run.built.plan).values():
        assert min(record.mean_s for record in workload.records) > 1e-9


def test_nothing_is_replayed_where_the_untuned_kernel_was_faster(
    tuned: Tuned, tmp_path: Path, in_this_process: list[Any]
) -> None:
    """Not even a schedule of another task of the same family, which was faster than its own."""
    old, workloads, _ = tuned[False]
    (other_key,) = (path.name for path in old.tuning.iterdir() if OTHER in path.name)
    copies = open_store(tmp_path / "copies")
    for number, workload in enumerate(workloads):
        best = workload.records[0]
        faster = Untuned(
            run_s=best.mean_s / 2,
            cpu=best.cpu,
            cores=best.cores,
            num_threads=best.num_threads,
            at_s=best.at_s,
        )
        add_to_workload(copies, other_key, replace(workload, untuned=(faster,)))
        shash = f"{number:016x}"
        other = replace(workload, name=f"{workload.name}7", shash=shash, untuned=())
        add_to_workload(copies, other_key, other)
    store = replace(open_store(tmp_path / "store"), fallbacks=(copies.root,))
    run = built_run(opener(store)(NotMain, settings={"tuning": "never"}, **GIVEN))
    assert {task.state for task in run.result.tasks} == {"untuned"}
