"""Who gets the next trials: rules on plain values, and whole runs of them."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest

from pytest_tvmtune.core.tuning.trial_budget import (
    FRUITLESS_TRIALS,
    MAX_ROUND,
    TaskTrials,
    expected_gain,
    next_task,
    round_size,
)

PATIENCE = 16


def task_trials(name: str, **values: Any) -> TaskTrials:
    return TaskTrials(name=name, **{"weight": 1, "estimate": 1.0, **values})


def tried(name: str, spent: int, *best_s: float, **values: Any) -> TaskTrials:
    """An account with valid measurements."""
    gained = {"gained_s": min(best_s or [1.0]), "gained_at": spent}
    measured = {"spent": spent, "valid": spent, "best_s": list(best_s or [1.0])}
    return task_trials(name, **measured, **gained, **values)


def name_of(
    *all_tasks: TaskTrials, left: int = 100, cap: int | None = None, patience: int = PATIENCE
) -> str | None:
    found = next_task(all_tasks, left=left, cap=cap, patience=patience)
    return found.name if found else None


@pytest.mark.parametrize(
    ("trials", "tasks", "cap", "size"),
    [
        # Half a fair share, rounded up.
        (64, 4, None, 8),
        (60, 4, None, 8),
        (56, 4, None, 7),
        (12, 4, None, 2),
        (8, 4, None, 1),
        # Never less than one, nor more than the most of a round or of a task.
        (4, 4, None, 1),
        (3, 4, None, 1),
        (0, 4, None, 1),
        (10_000, 1, None, MAX_ROUND),
        (10_000, 1, 5, 5),
        (10_000, 1, 1000, MAX_ROUND),
        (64, 4, 3, 3),
        (64, 4, 100, 8),
        (64, 0, None, MAX_ROUND),
    ],
)
def test_a_round_is_half_a_fair_share(trials: int, tasks: int, cap: int | None, size: int) -> None:
    assert round_size(trials, tasks, cap) == size


def test_a_fair_share_gives_each_task_at_least_two_rounds() -> None:
    for tasks in range(1, 20):
        for trials in range(2 * tasks, 12 * tasks):
            assert math.ceil(trials // tasks / round_size(trials, tasks, None)) >= 2


def test_the_untried_come_first_costliest_first() -> None:
    cheap, dear = (
        task_trials("cheap", estimate=2.0),
        task_trials("dear", weight=3, estimate=1.0),
    )
    worth_it = tried("worth it", 1, 1e6)
    fruitless = task_trials("fruitless", spent=1)
    assert name_of(cheap, worth_it, fruitless, dear) == "dear"
    dear.spent = 1
    assert name_of(cheap, worth_it, fruitless, dear) == "cheap"


def test_then_the_fruitless_while_patience_lasts_the_least_tried_first() -> None:
    worth_it = tried("worth it", 1, 1e6)
    long, short = task_trials("long", spent=8), task_trials("short", spent=4)
    assert name_of(worth_it, long, short) == "short"
    short.spent = PATIENCE
    assert name_of(worth_it, long, short) == "long"
    long.spent = PATIENCE - 1
    assert name_of(worth_it, long, short) == "long"
    long.spent = PATIENCE
    assert name_of(worth_it, long, short) == "worth it"
    assert name_of(long, short) is None
    assert name_of(long, short, patience=PATIENCE + 1) == "long"


def test_one_valid_candidate_ends_the_need_for_patience() -> None:
    found = tried("found", 8, 1.0)
    found.valid = 1
    assert name_of(found, task_trials("none yet", spent=15)) == "none yet"
    assert name_of(found, task_trials("given up", spent=16)) == "found"


def test_then_the_one_with_most_to_gain() -> None:
    assert name_of(tried("slow", 8, 2.0), tried("fast", 8, 1.0)) == "slow"
    assert name_of(tried("rare", 8, 2.0), tried("frequent", 8, 1.0, weight=3)) == "frequent"
    assert name_of(tried("long tried", 32, 2.0), tried("hardly tried", 8, 1.0)) == "hardly tried"


def test_an_exhausted_task_gets_nothing_more() -> None:
    done = task_trials("done", exhausted=True)
    assert name_of(done) is None
    assert name_of(done, tried("other", 99, 1e-9)) == "other"
    assert name_of(tried("done", 8, 1e6, exhausted=True), tried("other", 99, 1e-9)) == "other"
    assert name_of(task_trials("done", spent=1, exhausted=True), tried("other", 9)) == "other"


def test_a_capped_task_gets_nothing_more() -> None:
    full, open_ = tried("full", 8, 1e6), tried("open", 7, 1e-9)
    assert name_of(full, open_) == "full"
    assert name_of(full, open_, cap=8) == "open"
    assert name_of(full, open_, cap=7) is None
    assert name_of(task_trials("fruitless", spent=2), open_, cap=2) is None


@pytest.mark.parametrize("left", [0, -1])
def test_nothing_is_given_when_nothing_is_left(left: int) -> None:
    assert name_of(task_trials("untried"), left=left) is None
    assert name_of(task_trials("untried"), left=1) == "untried"
    assert name_of() is None


def test_latency_is_the_last_best_or_without_bound() -> None:
    assert task_trials("x").latency_s == math.inf
    assert tried("x", 8, 3.0, 2.0).latency_s == 2.0


def test_the_gain_is_the_optimistic_guess_until_there_is_a_history() -> None:
    # Latency may go on falling in proportion to the trials: 2 s over 10 trials.
    assert expected_gain(tried("x", 10, 2.0)) == pytest.approx(0.2)
    assert expected_gain(tried("x", 10, 9.0, 8.0, 2.0)) == pytest.approx(0.2)
    assert expected_gain(tried("x", 10, 2.0, weight=5)) == pytest.approx(1.0)


def test_the_gain_blends_in_what_the_last_three_rounds_saved() -> None:
    # 4 rounds of 5 trials; the last 3 took it from 6 s to 3 s: 0.2 s a trial. The guess: 3 s / 20.
    expected = 0.2 * (3.0 / 15) + 0.8 * (3.0 / 20)
    assert expected_gain(tried("x", 20, 6.0, 5.0, 4.0, 3.0)) == pytest.approx(expected)
    assert expected_gain(tried("x", 20, 6.0, 5.0, 4.0, 3.0, weight=7)) == pytest.approx(
        7 * expected
    )
    # What came before them counts no more.
    longer = tried("x", 25, 1000.0, 6.0, 5.0, 4.0, 3.0)
    assert expected_gain(longer) == pytest.approx(0.2 * (3.0 / 15) + 0.8 * (3.0 / 25))


def test_of_two_alike_the_one_that_still_improves_is_next() -> None:
    flat = tried("flat", 20, 3.0, 3.0, 3.0, 3.0)
    falling = tried("falling", 20, 6.0, 5.0, 4.0, 3.0)
    assert name_of(flat, falling) == name_of(falling, flat) == "falling"


def test_rounds_without_a_valid_candidate_make_no_gain_without_bound() -> None:
    late = tried("late", 20, math.inf, math.inf, 3.0, 3.0)
    assert expected_gain(late) == pytest.approx(3.0 / 20)
    assert math.isfinite(expected_gain(tried("x", 25, math.inf, 4.0, 4.0, 4.0, 3.0)))


Measure = Callable[[TaskTrials, int], list[float | None]]


def run(
    all_tasks: list[TaskTrials], *, trials: int, measure: Measure, cap: int | None = None
) -> list[str]:
    """Spend the trials as the tuner does; return whose each round was."""
    size = round_size(trials, len(all_tasks), cap)
    patience = max(2 * size, trials // len(all_tasks))
    left, order = trials, []
    while one := next_task(all_tasks, left=left, cap=cap, patience=patience):
        count = min(size, one.room(left, cap))
        measured = [s for s in measure(one, count) if s is not None]
        one.spent += count
        one.end_round(measured)
        left -= count
        order.append(one.name)
        assert len(order) <= trials
    return order


def improving(one: TaskTrials, count: int) -> list[float | None]:
    """Latency falls as the inverse of the trials."""
    return [one.estimate / (one.spent + n + 1) for n in range(count)]


def tasks(count: int) -> list[TaskTrials]:
    return [task_trials(f"t{n}", estimate=float(n + 1), weight=1 + n % 3) for n in range(count)]


@pytest.mark.parametrize("trials", [7, 8, 13, 14, 64, 200])
def test_every_task_is_measured_when_there_are_trials_for_all(trials: int) -> None:
    all_tasks = tasks(7)
    order = run(all_tasks, trials=trials, measure=improving)
    assert all(one.valid for one in all_tasks)
    assert sum(one.spent for one in all_tasks) == trials
    costliest = sorted(all_tasks, key=lambda one: -one.weight * one.estimate)
    assert order[:7] == [one.name for one in costliest]


def test_with_fewer_trials_than_tasks_the_costliest_get_one_each() -> None:
    all_tasks = tasks(7)
    costliest = sorted(all_tasks, key=lambda one: -one.weight * one.estimate)
    order = run(all_tasks, trials=3, measure=improving)
    assert order == [one.name for one in costliest[:3]]
    assert [one.spent for one in costliest] == [1, 1, 1, 0, 0, 0, 0]


def test_what_is_left_goes_where_most_time_is() -> None:
    all_tasks = [
        task_trials("hot", weight=10, estimate=100.0),
        task_trials("cold", estimate=1.0),
    ]
    run(all_tasks, trials=64, measure=improving)
    assert all_tasks[0].spent >= 40
    assert all_tasks[1].valid


def test_a_task_that_never_gives_anything_costs_its_share_and_no_more() -> None:
    all_tasks = tasks(4)

    def measure(one: TaskTrials, count: int) -> list[float | None]:
        return [None] * count if one.name == "t3" else improving(one, count)

    run(all_tasks, trials=200, measure=measure)
    assert all_tasks[3].spent <= 200 // 4 + round_size(200, 4, None)
    assert all(one.valid for one in all_tasks[:3])
    assert sum(one.spent for one in all_tasks) == 200


def test_when_nothing_ever_works_it_ends_early() -> None:
    all_tasks = tasks(3)
    run(all_tasks, trials=1000, measure=lambda one, count: [None] * count)
    assert all(one.spent < 400 for one in all_tasks)
    assert not any(one.valid for one in all_tasks)


def test_a_task_that_converged_leaves_its_trials_to_others() -> None:
    all_tasks = [task_trials("flat", weight=100, estimate=100.0), task_trials("steep")]

    def measure(one: TaskTrials, count: int) -> list[float | None]:
        return [1.0] * count if one.name == "flat" else improving(one, count)

    run(all_tasks, trials=1000, measure=measure)
    flat, steep = all_tasks
    assert flat.converged
    # Its first round was the gain, and the round in which it converges may go past the bound.
    assert FRUITLESS_TRIALS <= flat.spent <= FRUITLESS_TRIALS + 2 * MAX_ROUND
    assert not steep.converged
    assert steep.spent == 1000 - flat.spent


def test_when_all_have_converged_it_ends_early() -> None:
    all_tasks = tasks(3)
    run(all_tasks, trials=1000, measure=lambda one, count: [one.estimate] * count)
    assert all(one.converged for one in all_tasks)
    assert all(one.spent <= FRUITLESS_TRIALS + 2 * MAX_ROUND for one in all_tasks)


def test_small_gains_add_up_to_one_that_counts() -> None:
    """Each round gains less than what counts, and two rounds together gain more."""
    one = task_trials("one", estimate=1.0)

    def measure(one: TaskTrials, count: int) -> list[float | None]:
        return [0.994 ** len(one.best_s)] * count

    run([one], trials=1000, measure=measure)
    assert one.spent == 1000


def test_no_task_gets_more_than_its_cap() -> None:
    all_tasks = tasks(5)
    run(all_tasks, trials=200, measure=improving, cap=6)
    assert [one.spent for one in all_tasks] == [6] * 5


def test_a_cap_counts_the_trials_of_earlier_runs() -> None:
    one, other = tried("one", 2, 9.0, earlier=6), tried("other", 2, 1.0, earlier=1)
    assert name_of(one, other) == "one"
    assert name_of(one, other, cap=9) == "one"
    assert name_of(one, other, cap=8) == "other"
    assert one.room(100, 9) == 1
    assert one.room(100, None) == 100
    assert other.room(2, 9) == 2


def test_what_earlier_runs_measured_is_no_reason_for_patience() -> None:
    known = task_trials("known", spent=4, best_s=[1.0, 1.0])
    assert name_of(known, task_trials("unknown", spent=8)) == "unknown"
    assert name_of(known, task_trials("given up", spent=PATIENCE)) == "known"
