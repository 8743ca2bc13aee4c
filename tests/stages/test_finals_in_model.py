"""Finals inside the model: who meets, what is chosen, and what the store has of it then."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from pytest_tvmtune.core.gating.confidence_sequence import Evidence
from pytest_tvmtune.core.results.task_result import Task
from pytest_tvmtune.stages.case import Case
from pytest_tvmtune.stages.finals_in_model import (
    LEAST_TRIALS,
    MOST,
    Finalist,
    Schedule,
    build_with_finals,
    choose_finalists,
    fastest_in_model,
    ranked_alone,
)
from pytest_tvmtune.stages.outcomes import TuningOutcome
from pytest_tvmtune.stages.tuned_build import build_tuned
from pytest_tvmtune.stages.tuning_tasks import extract_tasks, stored_workloads, tune_missing
from pytest_tvmtune.store.locks import try_lock
from pytest_tvmtune.store.tuning.record_lines import dump
from pytest_tvmtune.store.tuning.records import Preferred, Record, Workload
from pytest_tvmtune.store.tuning.workload_files import workload_path
from tests.support.modules import OpenCase
from tests.support.sample_records import record, untuned, workload

CPU, THREADS = "this CPU", 4


def ranked(*records: Record, **values: Any) -> list[Schedule]:
    return ranked_alone(workload(*records, **values), CPU, THREADS)


def task(shash: str, weight: int = 1) -> Task:
    return Task(name=f"task_{shash}", shash=shash, weight=weight)


def schedules(*alone_s: float) -> list[Schedule]:
    return [Schedule(record=record(one, f"{one}"), alone_s=one) for one in alone_s]


def evidence(ratio: float, low: float) -> Evidence:
    """Return that of the ratio applied/finalist; the model takes 10 s with the applied one."""
    return Evidence(
        ratio=ratio, low=low, high=math.inf, alpha=0.05, baseline_median_s=10 / ratio,
        now_median_s=10.0, epochs=20, pairs=140,
    )  # fmt: skip


def test_only_what_was_measured_on_this_machine_meets() -> None:
    one, other = record(2.0, "one"), record(3.0, "other")
    elsewhere = record(2.5, "elsewhere", "another CPU")
    fewer = replace(record(2.6, "fewer threads"), num_threads=1)
    replayed = replace(record(2.7, "replayed"), replayed_from="TVM 0.26")
    found = ranked(one, other, elsewhere, fewer, replayed, untuned=(untuned(2.2),))
    assert [(each.record, each.alone_s) for each in found] == [
        (one, 2.0),
        (None, 2.2),
        (other, 3.0),
    ]
    # The untuned kernel is applied: it meets the schedules.
    assert [each.record for each in ranked(one, untuned=(untuned(2.0),))] == [None, one]
    # What is applied was measured elsewhere, or with another number of threads.
    assert ranked(elsewhere) == ranked(replace(one, num_threads=1), other) == ranked() == []
    # What was preferred before stays.
    preferred = Preferred(
        digest=other.digest, over=one.digest, cpu=CPU, num_threads=THREADS, at_s=1.0
    )
    assert [each.record for each in ranked(one, other, preferred=(preferred,))] == [other]


def test_the_dearest_tasks_with_close_schedules_meet() -> None:
    tasks = [task("a"), task("b", weight=3), task("c"), task("d"), task("e")]
    by_hash = {
        "a": schedules(10.0, 11.0, 12.0, 12.5, 14.0),
        "b": schedules(5.0, 6.4, 6.6),
        "c": schedules(2.0, 2.1),
        "d": schedules(0.5, 0.5),
        "e": schedules(0.4),
    }
    found = [
        (one.task.shash, one.schedule.alone_s) for one in choose_finalists(tasks, by_hash, "abcde")
    ]
    # The runner-up of each first; d has no 5 % of the time.
    assert found == [("b", 6.4), ("a", 11.0), ("c", 2.1), ("a", 12.0)]
    assert len(found) <= MOST
    # Others than those that were tuned now are left as they are.
    (only,) = choose_finalists(tasks, by_hash, "cd")
    assert only.task.shash == "c"
    assert choose_finalists([], {}, "a") == []


def test_the_fastest_inside_the_model_is_clearly_faster() -> None:
    best, second, third = schedules(1.0, 1.1, 1.2)
    one, other = (
        Finalist(task=task("a"), schedule=schedule, best=best) for schedule in (second, third)
    )
    assert fastest_in_model([(one, evidence(1.1, 1.05)), (other, evidence(1.2, 1.1))]) is other
    # A gain of less than half a percent, and an interval that contains none.
    assert fastest_in_model([(one, evidence(1.1, 1.004)), (other, evidence(1.2, 0.9))]) is None
    assert fastest_in_model([]) is None


@pytest.fixture
def tuned(open_: OpenCase, monkeypatch: pytest.MonkeyPatch) -> Case:
    """Return the case of a matrix product with a few schedules and their true times."""
    from tvm import relax

    from pytest_tvmtune.relax import compat

    monkeypatch.setenv("TVM_NUM_THREADS", "1")
    shape = compat.tensor_type()((128, 128), "float32")
    x, w = relax.Var("x", shape), relax.Var("w", shape)
    builder = relax.BlockBuilder()
    with builder.function("main", [x, w], attrs={"num_input": 1}):
        with builder.dataflow():
            result = builder.emit_output(relax.op.matmul(x, w))
        builder.emit_func_output(result)
    params = [np.ones((128, 128), "float32")]
    case: Case = open_(builder.finalize(), params=params, settings={"trials": 6, "num_threads": 1})
    assert tune_missing(case, extract_tasks(case)).error is None
    return case


def told(case: Case, change: Callable[[Workload], Workload]) -> Workload:
    """Change what the store says of the only task, and return it."""
    plan = extract_tasks(case)
    (known,) = stored_workloads(case, plan).values()
    changed = change(known)
    path = workload_path(case.store, plan.target_key, known.shash)
    path.write_text(dump(plan.target_key, changed))
    return changed


def outcome_of(case: Case, **values: Any) -> TuningOutcome:
    shashes = frozenset(task.shash for task in extract_tasks(case).tasks)
    values = {"tuned": shashes, "trials_spent": LEAST_TRIALS, "seconds": 60.0, **values}
    return TuningOutcome(**values)


def test_what_is_slower_inside_the_model_loses_its_place(tuned: Case) -> None:
    """The untuned kernel, several times slower, is said to be the fastest alone."""

    def swapped(known: Workload) -> Workload:
        best = known.records[0]
        assert known.untuned[0].run_s > 2 * best.mean_s
        broken = replace(best, data=[[["no trace"]], [1.05 * best.mean_s], *best.data[2:]])
        slow = replace(known.untuned[0], run_s=0.9 * best.mean_s)
        return replace(known, records=(best, broken), untuned=(slow,))

    known, plan = told(tuned, swapped), extract_tasks(tuned)
    assert build_tuned(tuned, plan).built.build.applied == ()
    compiled, finals = build_with_finals(tuned, plan, outcome_of(tuned))
    final, broken = finals.results
    assert final.chosen
    assert not final.is_untuned
    assert final.ratio is not None
    assert final.ratio < 0.8
    assert final.interval is not None
    assert final.interval[1] < 1
    # The one that doesn't build is left out.
    assert (broken.ratio, broken.chosen) == (None, False)
    assert broken.problem
    assert finals.compiled_s
    assert compiled.built.build.applied == (known.shash,)
    # The measured times stay as they are.
    (after,) = stored_workloads(tuned, plan).values()
    assert (after.records, after.untuned) == (known.records, known.untuned)
    assert after.best(tuned.machine.cpu) == known.records[0]
    # Later runs apply the same, and have nothing to compare.
    again, finals = build_with_finals(tuned, plan, outcome_of(tuned))
    assert finals.results == ()
    assert again.built.key == compiled.built.key


def test_the_schedule_that_is_faster_inside_the_model_stays(tuned: Case) -> None:
    def close(known: Workload) -> Workload:
        slow = replace(known.untuned[0], run_s=1.1 * known.records[0].mean_s)
        return replace(known, records=known.records[:1], untuned=(slow,))

    told(tuned, close)
    files = {path: path.read_bytes() for path in tuned.store.tuning.rglob("*.jsonl")}
    _, finals = build_with_finals(tuned, extract_tasks(tuned), outcome_of(tuned))
    (final,) = finals.results
    assert (final.is_untuned, final.chosen) == (True, False)
    assert final.ratio is not None
    assert final.ratio > 1
    assert files == {path: path.read_bytes() for path in tuned.store.tuning.rglob("*.jsonl")}


@pytest.mark.parametrize(
    "changes",
    [
        {"trials_spent": LEAST_TRIALS - 1},
        {"tuned": frozenset()},
        {"tuned": frozenset({"0123456789abcdef"})},
    ],
)
def test_nothing_is_compared_without_enough_trials_for_the_tasks(
    tuned: Case, changes: dict[str, Any]
) -> None:
    plan = extract_tasks(tuned)
    _, finals = build_with_finals(tuned, plan, outcome_of(tuned, **changes))
    assert finals.results == ()


def test_what_another_process_tunes_is_left_to_it(tuned: Case) -> None:
    plan = extract_tasks(tuned)
    (shash,) = outcome_of(tuned).tuned
    lock = try_lock(tuned.store.lock(f"{plan.target_key}-{shash}"))
    assert lock is not None
    try:
        assert build_with_finals(tuned, plan, outcome_of(tuned))[1].results == ()
    finally:
        lock.release()
