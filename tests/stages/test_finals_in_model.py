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
    choose_finalists,
    hold_finals_in_model,
    is_faster,
    ranked_alone,
    ranked_in_model,
)
from pytest_tvmtune.stages.outcomes import TuningOutcome
from pytest_tvmtune.stages.tuned_build import build_tuned
from pytest_tvmtune.stages.tuning_tasks import extract_tasks, stored_workloads, tune_missing
from pytest_tvmtune.store.tuning.record_lines import dump
from pytest_tvmtune.store.tuning.records import Record, Workload
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


def test_the_dearest_tasks_with_close_schedules_meet() -> None:
    tasks = [task("a"), task("b", weight=3), task("c"), task("d"), task("e")]
    by_hash = {
        "a": schedules(10.0, 11.0, 12.0, 12.5, 14.0),
        "b": schedules(5.0, 6.4, 6.6),
        "c": schedules(2.0, 2.1),
        "d": schedules(0.5, 0.5),
        "e": schedules(0.4),
    }
    found = [(one.task.shash, one.schedule.alone_s) for one in choose_finalists(tasks, by_hash)]
    # The runner-up of each first; d has no 5 % of the time.
    assert found == [("b", 6.4), ("a", 11.0), ("c", 2.1), ("a", 12.0)]
    assert len(found) <= MOST
    assert choose_finalists([], {}) == []


def test_the_times_follow_the_order_inside_the_model() -> None:
    applied, second, third, slow = (record(s, f"{s}") for s in (1.0, 1.1, 1.2, 1.25))
    known = workload(applied, second, third, slow, untuned=(untuned(9.0),))
    best, *others = ranked_alone(known, CPU, THREADS)
    met = [Finalist(task=task(known.shash, 2), schedule=one, best=best) for one in others[:2]]
    # Of 10 s, the second saves 2 s and the third 5 s, for two calls.
    rows = [(met[0], evidence(1.25, 1.2)), (met[1], evidence(2.0, 1.9))]
    assert all(is_faster(found) for _, found in rows)
    corrected = ranked_in_model(known, rows, CPU, THREADS)
    times = {one.digest: one.mean_s for one in corrected.records}
    assert times[third.digest] == 1.0
    assert times[second.digest] == pytest.approx(1.0 + 1.5)
    assert times[applied.digest] == pytest.approx(1.0 + 2.5)
    assert slow.digest not in times  # it keeps its time
    assert not is_faster(evidence(1.25, 1.004))


def test_the_untuned_kernel_may_win_and_lose() -> None:
    only = record(1.0, "only")
    known = workload(only, untuned=(untuned(1.1), untuned(0.1, "another CPU")))
    best, other = ranked_alone(known, CPU, THREADS)
    row = (Finalist(task=task(known.shash), schedule=other, best=best), evidence(1.25, 1.2))
    corrected = ranked_in_model(known, [row], CPU, THREADS)
    assert [(one.cpu, one.run_s) for one in corrected.untuned] == [(CPU, 1.0)]
    assert corrected.best(CPU) is None
    (fastest,) = corrected.records
    assert fastest.mean_s == pytest.approx(3.0)


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


OUTCOME = TuningOutcome(tuned=True, trials_spent=LEAST_TRIALS, seconds=60.0)


def test_what_is_slower_inside_the_model_loses_its_place(tuned: Case) -> None:
    """The untuned kernel, several times slower, is said to be the fastest alone."""
    case, plan = tuned, extract_tasks(tuned)

    def swapped(known: Workload) -> Workload:
        best = known.records[0]
        assert known.untuned[0].run_s > 2 * best.mean_s
        broken = replace(best, data=[[["no trace"]], [1.05 * best.mean_s], *best.data[2:]])
        slow = replace(known.untuned[0], run_s=0.9 * best.mean_s)
        return replace(known, records=(best, broken), untuned=(slow,))

    known = told(case, swapped)
    before = build_tuned(case, plan)
    assert before.built.build.applied == ()
    outcome = hold_finals_in_model(case, before.built, OUTCOME)
    # The one that doesn't build is left out.
    (final,) = outcome.results
    assert final.chosen
    assert not final.is_untuned
    assert final.ratio < 0.8
    assert final.interval is not None
    assert final.interval[1] < 1
    assert outcome.changed
    assert outcome.compiled_s
    after = build_tuned(case, plan)
    assert after.built.build.applied == (known.shash,)
    # The other way round, the faster one stays, and so do the store's files.
    files = {path: path.read_bytes() for path in case.store.tuning.rglob("*.jsonl")}
    again = hold_finals_in_model(case, after.built, OUTCOME)
    assert not again.changed
    assert files == {path: path.read_bytes() for path in case.store.tuning.rglob("*.jsonl")}


def test_nothing_is_held_after_few_trials_or_where_it_would_take_too_long(tuned: Case) -> None:
    built = build_tuned(tuned, extract_tasks(tuned)).built
    few = replace(OUTCOME, trials_spent=LEAST_TRIALS - 1)
    assert hold_finals_in_model(tuned, built, few).results == ()
    slow_to_compile = replace(built, build=replace(built.build, compile_s=20.0))
    assert hold_finals_in_model(tuned, slow_to_compile, OUTCOME).results == ()
