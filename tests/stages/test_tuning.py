"""Tuning for real: records, ledger, what a second request spends, what is applied."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from pytest_tvmtune.core.comparing.outputs_comparison import compare
from pytest_tvmtune.core.errors import StoreError
from pytest_tvmtune.machine.fingerprint import fingerprint
from pytest_tvmtune.stages.compiling import load
from pytest_tvmtune.stages.tuning_tasks import stored_workloads, untuned_sentence
from pytest_tvmtune.store.layout import Store
from pytest_tvmtune.store.tuning.work_dirs import write_work_dir
from tests.support.cases import build_of, built_run, forget_untuned, reference_outputs
from tests.support.modules import NotMain, OpenCase, Square, SquareAndLayer

RNG = np.random.default_rng(11)


def test_tuned_once_served_ever_after(open_: OpenCase) -> None:
    """One story, since each step builds on the records of the one before."""
    x, w = RNG.standard_normal((2, 8), "float32"), RNG.standard_normal((8, 8), "float32")
    given = {"params": [w], "inputs": [x]}

    first = built_run(open_(Square, settings={"trials": 8}, **given))
    built = first.built
    assert first.result.tuned_now
    assert 2 <= first.result.trials_spent <= 8
    assert first.result.trial_s == first.result.tuning_s / first.result.trials_spent > 0
    assert all(task.is_settled for task in first.result.tasks)
    assert all(task.best_s and task.best_s < 1 for task in first.result.tasks)
    assert all(task.untuned_s and task.untuned_s < 1 for task in first.result.tasks)
    curve = first.result.tuning_curve
    assert {point.task for point in curve} == {task.name for task in first.result.tasks}
    assert all(1 <= point.trial <= first.result.trials_spent for point in curve)
    assert curve[-1].together_s
    assert Path(first.case.logs.written()["tune"]).is_file()
    assert not any(task.measured_on_other_cpu for task in first.result.tasks)
    applied = {task.shash for task in first.result.tasks if task.state == "tuned"}
    assert set(built.build.applied) == applied
    for task in first.result.tasks:
        assert task.best_s
        assert task.untuned_s
        assert (task.best_s < task.untuned_s) == (task.state == "tuned")
    assert compare(load(first.case, built).outputs(), x @ w.T, against="numpy").passed
    wanted = reference_outputs(first.case, built)  # none where no schedule was faster
    assert wanted is None or compare(wanted, x @ w.T, against="numpy").passed

    same = built_run(open_(Square, settings={"trials": 8}, **given))
    assert same.built.artifact.sha256 == built.artifact.sha256
    assert same.case.logs.written() == {}
    assert not same.result.tuned_now
    assert same.result.trials_spent == 0
    assert same.result.trial_s is None
    assert same.result.library_compile_s == first.result.library_compile_s
    assert same.result.tuning_curve == []
    assert not same.result.compiled_now

    fewer = built_run(open_(Square, settings={"trials": 4}, **given))
    assert not fewer.result.tuned_now

    never = built_run(open_(Square, settings={"trials": 64, "tuning": "never"}, **given))
    assert not never.result.tuned_now
    assert never.result.tuned_tasks == 2

    more = built_run(open_(Square, settings={"trials": 12}, **given))
    assert more.result.tuned_now
    assert more.result.trials_spent <= 12 - first.result.trials_spent

    ledger = stored_workloads(more.case, more.built.plan).values()
    assert all([served.trials for served in known.served] == [8, 12] for known in ledger)
    machine = fingerprint()
    assert all(
        (record.cpu, record.num_threads) == (machine.cpu, more.case.num_threads)
        for known in ledger
        for record in known.records
    )


def test_a_limit_of_time_ends_tuning_once(open_: OpenCase) -> None:
    limited = {"trials": 10_000, "max_tuning_time": 0.001}
    first = built_run(open_(Square, settings=limited))
    assert first.result.tuning_ended_by == "time"
    assert first.result.trials_spent < 100
    # What got no trial is tuned in the next run.
    later = {**limited, "max_tuning_time": 5.0}
    more = built_run(open_(Square, settings=later))
    assert more.result.tuning_ended_by == "time"
    assert more.result.trials_spent
    assert not more.result.tasks_left_out
    same = built_run(open_(Square, settings=later))
    assert not same.result.tuned_now
    assert same.result.tuning_ended_by == ""


def test_a_layer_added_to_a_tuned_model_is_all_that_is_tuned(open_: OpenCase) -> None:
    first = built_run(open_(Square, settings={"trials": 4}))
    known = {task.shash for task in first.result.tasks}
    files = {path: path.read_bytes() for path in first.case.store.tuning.rglob("*.jsonl")}
    assert len(files) == len(known) == 2

    grown = built_run(open_(SquareAndLayer, settings={"trials": 4}))
    added = {task.shash for task in grown.result.tasks} - known
    assert len(added) == 2
    assert grown.result.tuned_tasks == len(grown.result.tasks) == 4
    # Half of the tasks, half of the trials, and the others' files are as they were.
    assert grown.result.trials_spent == 2
    assert {path: path.read_bytes() for path in files} == files
    written = {path.stem for path in first.case.store.tuning.rglob("*.jsonl")} - {
        path.stem for path in files
    }
    assert written == added


@pytest.mark.each_version
def test_prepacked_records_are_applied_and_compute_the_same(open_: OpenCase) -> None:
    x, w, b = (RNG.standard_normal(shape, "float32") for shape in ((2, 4), (6, 4), (6,)))
    given = {"params": [w, b], "inputs": [x]}
    build_of(open_(NotMain, prepack=True, settings={"trials": 6}, **given))
    case = open_(NotMain, prepack=True, settings={"trials": 6}, **given)
    forget_untuned(case.store)
    run = built_run(case)
    assert {task.state for task in run.result.tasks} == {"tuned"}
    assert compare(load(case, run.built).outputs(), x @ w.T + b, against="numpy").passed


def test_fewer_trials_than_tasks_leaves_the_cheapest_out(open_: OpenCase) -> None:
    run = built_run(open_(NotMain, settings={"trials": 1}))
    resolved = [task.name for task in run.result.tasks if task.is_settled]
    assert resolved == ["fused_matmul_add"]
    assert run.result.tasks_left_out == ["transpose"]
    again = built_run(open_(NotMain, settings={"trials": 1}))
    assert not again.result.tuned_now
    assert again.result.tasks_left_out == ["transpose"]


def test_a_stock_work_dir_is_taken_in_and_written_out(open_: OpenCase, tmp_path: Path) -> None:
    work_dir = tmp_path / "work_dir"
    build_of(open_(Square, settings={"trials": 4}))
    first = open_(Square, settings={"trials": 4, "work_dir": work_dir})
    forget_untuned(first.store)
    stored = stored_workloads(first, build_of(first).plan)
    lines = (work_dir / "database_workload.json").read_text().splitlines()
    assert len(lines) == 2

    from tvm.s_tir.meta_schedule.database import JSONDatabase

    stock = JSONDatabase(work_dir=str(work_dir))
    assert len(stock) == sum(len(known.records) for known in stored.values())
    # Another store, that knows nothing but this folder.
    for path in first.store.tuning.rglob("*.jsonl"):
        path.unlink()
    other = built_run(open_(Square, settings={"trials": 0, "work_dir": work_dir}))
    assert other.result.tuned_tasks == 2

    (work_dir / "database_tuning_record.json").write_text("\n")
    damaged = open_(Square, settings={"trials": 0, "work_dir": work_dir})
    with pytest.raises(StoreError, match=r"was not changed: .*record\.json line 1"):
        build_of(damaged)
    assert (work_dir / "database_tuning_record.json").read_text() == "\n"


def test_a_work_dir_is_given_no_record_that_is_not_applied(open_: OpenCase, tmp_path: Path) -> None:
    """What is deployed with it is what was tested."""
    work_dir = tmp_path / "work_dir"
    build_of(open_(Square, settings={"trials": 4}))
    case = open_(Square, settings={"trials": 4, "work_dir": work_dir})
    make_untuned_fast(case.store)
    run = built_run(case)
    assert {task.state for task in run.result.tasks} == {"untuned is faster"}
    assert run.result.tuned_tasks == 2
    assert untuned_sentence(case, run.result.tasks) == ""
    assert run.built.build.applied == ()
    assert (work_dir / "database_tuning_record.json").read_text() == ""
    assert run.result.warnings == []


def make_untuned_fast(store: Store) -> None:
    for path in store.tuning.rglob("*.jsonl"):
        rows = [json.loads(line) for line in path.read_text().splitlines()]
        for row in rows:
            if row["kind"] == "untuned":
                row["run_s"] = 1e-12
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def test_records_that_stand_in_a_work_dir_and_are_not_applied_are_told(
    open_: OpenCase, tmp_path: Path
) -> None:
    """They stay there, so that a stock build with it is another one."""
    work_dir = tmp_path / "work_dir"
    first = open_(Square, settings={"trials": 4})
    plan = build_of(first).plan
    stored = stored_workloads(first, plan)
    write_work_dir(work_dir, [(one, one.records) for one in stored.values()])
    make_untuned_fast(first.store)
    case = open_(Square, settings={"trials": 4, "work_dir": work_dir})
    run = built_run(case)
    assert run.built.build.applied == ()
    (told,) = run.result.warnings
    assert told.startswith(
        "work_dir: a stock build with this folder differs from the tested build: "
    )
    assert all(task.name in told for task in plan.tasks)


def test_records_of_another_machine_are_applied_and_told(open_: OpenCase) -> None:
    first = open_(Square, settings={"trials": 2})
    build_of(first)
    for path in first.store.tuning.rglob("*.jsonl"):
        rows = [json.loads(line) for line in path.read_text().splitlines()]
        for row in rows:
            if row["kind"] == "record":
                row["cpu"] = "Babbage Engine"
        # Of untuned kernels nobody knows there.
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    again = built_run(open_(Square, settings={"trials": 2}))
    assert not again.result.tuned_now
    assert all(task.measured_on_other_cpu for task in again.result.tasks)
    assert again.result.tuned_tasks == 2
