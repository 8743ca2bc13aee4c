"""What is known of a workload: merging, ranking, the ledger."""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import Any

import pytest

from pytest_tvmtune.store.tuning.records import (
    KEPT_RECORDS,
    Preferred,
    Record,
    keep_best,
    merge,
    target_key,
)
from tests.support.sample_records import data, record, refusal, served, untuned, workload


def test_merging_keeps_the_best_records_of_each_cpu_and_every_run_once() -> None:
    one = workload(
        *(record(i + 1.0, f"t{i}") for i in range(KEPT_RECORDS)), served=(served(1), served(2))
    )
    other = workload(
        record(0.5, "best"),
        record(99.0, "worst"),
        record(90.0, "only", cpu="other CPU"),
        served=(served(2), served(3)),
    )
    merged = merge(one, other)
    own = [r.mean_s for r in merged.records if r.cpu == "this CPU"]
    assert own == [0.5, *(i + 1.0 for i in range(KEPT_RECORDS - 1))]
    assert [r.mean_s for r in merged.records if r.cpu == "other CPU"] == [90.0]
    assert merged.served == (served(1), served(2), served(3))
    # Either order, again and again: the same knowledge.
    assert merge(other, one) == merged
    assert merge(merged, other) == merged
    assert merge(merged) == merged


def test_one_schedule_measured_twice_keeps_its_better_time_on_each_cpu() -> None:
    merged = merge(
        workload(record(2.0), record(3.0, cpu="other CPU")),
        workload(record(1.0), record(4.0, cpu="other CPU")),
    )
    assert [(r.cpu, r.mean_s) for r in merged.records] == [("this CPU", 1.0), ("other CPU", 3.0)]


def test_the_name_and_ir_are_the_first_ones() -> None:
    merged = merge(workload(name="now", ir="a"), workload(name="then", ir="b"))
    assert (merged.name, merged.ir) == ("now", "a")


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
def test_the_last_line_of_a_run_counts_whatever_the_order_of_lines(order: tuple[int, ...]) -> None:
    begun = served(64, run_id="a", spent=4, valid=3, complete=False)
    lines = [
        begun,
        replace(begun, spent=8, valid=6),
        served(8, run_id="b", spent=2, at_s=begun.at_s - 1),
    ]
    merged = merge(workload(), *(workload(served=(lines[index],)) for index in order))
    assert merged.served == (lines[2], lines[1])
    assert (merged.spent, merged.valid) == (10, 8)


@pytest.mark.parametrize("flipped", [False, True])
def test_a_complete_line_beats_any_incomplete_one_of_its_run(flipped: bool) -> None:
    # At its end a run may count less than it did on the way: what was given out and never came.
    done = served(64, run_id="a", spent=6)
    on_the_way = replace(done, spent=8, complete=False)
    both = [workload(served=(done,)), workload(served=(on_the_way,))]
    merged = merge(*(reversed(both) if flipped else both))
    assert merged.served == (done,)
    assert merged.is_enough(64, None)


def test_interrupted_runs_count_for_what_they_spent_but_not_as_served() -> None:
    cut = served(64, run_id="cut", spent=7, valid=5, complete=False)
    known = workload(served=(cut, served(8, spent=2, valid=0)))
    assert (known.spent, known.valid) == (9, 5)
    assert known.is_enough(8, None)
    assert not known.is_enough(9, None)
    assert (workload().spent, workload().valid) == (0, 0)


def test_a_refused_schedule_goes_from_every_source_on_every_cpu() -> None:
    bad, good = record(1.0, "bad"), record(2.0, "good")
    refusing = workload(refused=(refusal(bad),))
    holding = workload(bad, record(0.5, "bad", cpu="other CPU"), good)
    for merged in (merge(refusing, holding), merge(holding, refusing)):
        assert merged.records == (good,)
        assert merged.refused == (refusal(bad),)
        # It can't come back with a later measurement either.
        assert merge(workload(record(0.1, "bad")), merged).records == (good,)


def test_a_schedule_refused_twice_is_listed_once_with_the_first_reason() -> None:
    one, two = record(1.0, "one"), record(1.0, "two")
    merged = merge(
        workload(refused=(refusal(one, "now"),)),
        workload(refused=(refusal(two), refusal(one, "then"))),
    )
    expected = sorted([refusal(one, "now"), refusal(two)], key=lambda refused: refused.digest)
    assert merged.refused == tuple(expected)


def test_the_digest_is_of_the_schedule_whatever_it_measured() -> None:
    assert record(1.0, "a").digest == record(2.0, "a", cpu="other").digest
    assert record(1.0, "a").digest != record(1.0, "b").digest


def test_keeping_the_best_of_each_cpu() -> None:
    given = [record(3.0, "c"), record(1.0, "a"), record(2.0, "b"), record(1.5, "a", cpu="other")]
    assert [(r.mean_s, r.cpu) for r in keep_best(given, most=2)] == [
        (1.0, "this CPU"), (1.5, "other"), (2.0, "this CPU")
    ]  # fmt: skip
    assert [r.mean_s for r in keep_best(given, most=1)] == [1.0, 1.5]
    assert keep_best(given, most=0) == ()
    assert len(keep_best([record(1.0, f"{n}") for n in range(50)])) == KEPT_RECORDS
    # Ties go the same way whatever the order, so that files merge to the same bytes.
    tied = [record(1.0, f"{n}") for n in range(5)]
    assert keep_best(tied, most=2) == keep_best(reversed(tied), most=2)


def test_the_best_record_is_this_cpus_else_any() -> None:
    mine, faster = record(2.0, "mine"), record(1.0, "theirs", cpu="other CPU")
    both = workload(faster, record(3.0, "slow"), mine)
    assert both.best("this CPU") == mine
    assert both.best("a third CPU") == faster
    assert workload().best("this CPU") is None


def test_records_rank_by_the_mean_of_their_times() -> None:
    spread = replace(record(0.0), data=[*data(0.0)[:1], [1.0, 3.0], *data(0.0)[2:]])
    assert spread.mean_s == 2.0


@pytest.mark.parametrize(
    ("done", "asked", "enough"),
    [
        # (trials, cap) of the completed request, of the new one.
        ((64, None), (64, None), True),
        ((64, None), (32, None), True),
        ((64, None), (65, None), False),
        ((64, None), (64, 8), True),
        ((64, 8), (64, 8), True),
        ((64, 8), (64, 4), True),
        ((64, 8), (64, 9), False),
        ((64, 8), (64, None), False),
        ((64, 8), (65, 8), False),
        ((0, None), (0, None), True),
    ],
)
def test_a_request_at_least_as_large_is_enough(
    done: tuple[int, int | None], asked: tuple[int, int | None], enough: bool
) -> None:
    line = served(*done, spent=0)
    assert workload(served=(line,)).is_enough(*asked) is enough
    assert not workload(served=(replace(line, complete=False),)).is_enough(*asked)


@pytest.mark.parametrize(
    ("limit_s", "asked_s", "enough"),
    [
        (None, None, True),
        (None, 1.0, True),  # it ended by itself, so another limit changes nothing
        (60.0, None, False),
        (60.0, 61.0, False),
        (60.0, 60.0, True),
        (60.0, 1.0, True),
    ],
)
def test_a_request_with_as_much_time_is_enough(
    limit_s: float | None, asked_s: float | None, enough: bool
) -> None:
    known = workload(served=(replace(served(64), max_time_s=limit_s),))
    assert known.is_enough(64, None, max_time_s=asked_s) is enough


@pytest.mark.parametrize(("at_s", "enough"), [(99.0, False), (100.0, True), (101.0, True)])
def test_only_what_was_served_since_then_is_enough(at_s: float, enough: bool) -> None:
    known = workload(served=(served(64, at_s=at_s),))
    assert known.is_enough(64, None, since_s=100.0) is enough
    assert known.is_enough(64, None)


def test_what_failed_with_another_tvm_or_compiler_is_tried_again() -> None:
    failed = workload(
        served=(served(64, spent=3, valid=0, reason="all failed", environment="that one"),)
    )
    assert failed.is_enough(64, None, environment="that one")
    assert not failed.is_enough(64, None, environment="this one")
    worked = workload(served=(served(64, environment="that one"),))
    assert worked.is_enough(64, None, environment="this one")
    # Too few trials for every task is no failure.
    left_out = workload(served=(served(64, spent=0, environment="that one"),))
    assert left_out.is_enough(64, None, environment="this one")


@pytest.mark.parametrize(
    ("untuned_s", "applied"), [(1e-3, True), (9e-4, True), (8e-4, False), (1e-5, False)]
)
def test_a_record_that_does_not_beat_the_untuned_kernel_is_not_applied(
    untuned_s: float, applied: bool
) -> None:
    known = workload(record(8e-4, "a"), record(9e-4, "b"), untuned=(untuned(untuned_s),))
    best = known.best("this CPU")
    assert (best is not None) == applied
    assert known.fastest("this CPU") == record(8e-4, "a")
    assert known.deployed("this CPU").records == (known.records if applied else ())


def preferred(one: Record | None, over: Record | None, **values: Any) -> Preferred:
    digests = {"digest": one.digest if one else "", "over": over.digest if over else ""}
    return Preferred(**{**digests, "cpu": "this CPU", "num_threads": 4, "at_s": 1.0, **values})


def test_what_is_preferred_takes_the_place_of_what_it_was_preferred_to() -> None:
    a, b, c = record(1e-3, "a"), record(2e-3, "b"), record(3e-3, "c")

    def best(*records: Record, **values: Any) -> Record | None:
        return workload(*records, **values).best("this CPU")

    assert best(a, b, c, preferred=(preferred(b, a),)) == b
    # As long as that is the fastest, on this machine, and its record is there.
    faster = record(0.9e-3, "d")
    assert best(faster, a, b, preferred=(preferred(b, a),)) == faster
    assert best(a, b, preferred=(preferred(b, a, cpu="that CPU"),)) == a
    assert best(a, b, preferred=(preferred(b, a, num_threads=1),)) == a
    assert best(a, c, preferred=(preferred(b, a),)) == a
    assert best(a, b, preferred=(preferred(b, a),), untuned=(untuned(0.5e-3),)) is None
    # The untuned kernel may be preferred, too, or something to it.
    assert best(a, b, preferred=(preferred(None, a),), untuned=(untuned(1.1e-3),)) is None
    assert best(a, b, preferred=(preferred(b, None),), untuned=(untuned(0.9e-3),)) == b


def test_a_stock_work_dir_gives_what_is_preferred() -> None:
    a, b, c = record(1e-3, "a"), record(2e-3, "b"), record(3e-3, "c")
    known = workload(a, b, c, preferred=(preferred(b, a),))
    assert known.deployed("this CPU").records == (b, c)


def test_of_two_preferences_the_last_one_counts() -> None:
    a, b = record(1e-3, "a"), record(2e-3, "b")
    first = workload(a, b, preferred=(preferred(b, a),))
    second = workload(a, b, preferred=(preferred(None, a, at_s=2.0),))
    assert merge(first, second).preferred == merge(second, first).preferred == second.preferred


def test_what_is_untuned_counts_where_the_record_was_measured() -> None:
    theirs = record(1e-3, cpu="that CPU")
    elsewhere = workload(theirs, untuned=(untuned(1e-4), untuned(1e-4, "that CPU", num_threads=1)))
    assert elsewhere.best("this CPU") == theirs
    there = workload(theirs, untuned=(untuned(1e-4, "that CPU"),))
    assert there.best("this CPU") is None


def test_of_one_machine_the_last_untuned_time_counts() -> None:
    first, last = untuned(1e-3, at_s=1.0), untuned(2e-3, at_s=2.0)
    other = untuned(1e-4, num_threads=1)
    for one, two in ((first, last), (last, first)):
        merged = merge(workload(untuned=(one,)), workload(untuned=(two, other)))
        assert merged.untuned == (other, last)


def test_two_smaller_requests_do_not_add_up() -> None:
    both = workload(served=(served(64, 2), served(8, None)))
    assert not both.is_enough(64, None)
    assert not both.is_enough(32, 4)
    assert both.is_enough(8, None)
    assert not workload().is_enough(1, None)


def test_a_target_key_leaves_out_the_cores_and_keeps_the_minor_version() -> None:
    plain = target_key('{"kind": "llvm", "mcpu": "znver4"}', "0.27.0.post1")
    assert plain.startswith("llvm-tvm0.27-")
    same = [
        ('{"mcpu": "znver4", "kind": "llvm"}', "0.27.0.post1"),
        ('{"kind": "llvm", "mcpu": "znver4", "num-cores": 8}', "0.27.5"),
    ]
    other = [
        ('{"kind": "llvm", "mcpu": "znver3"}', "0.27.0"),
        ('{"kind": "llvm", "mcpu": "znver4"}', "0.28.0"),
    ]
    assert {target_key(*given) for given in same} == {plain}
    assert len({plain, *(target_key(*given) for given in other)}) == 3


def test_of_one_schedule_on_one_cpu_the_last_measurement_counts() -> None:
    lucky = record(1.0, "a")
    again = replace(record(3.0, "a"), at_s=lucky.at_s + 1)
    theirs = record(2.0, "a", cpu="other CPU")
    for one, other in ((lucky, again), (again, lucky)):
        merged = merge(workload(one, theirs), workload(other, record(2.5, "b")))
        assert [(r.cpu, r.mean_s) for r in merged.records] == [
            ("other CPU", 2.0), ("this CPU", 2.5), ("this CPU", 3.0)
        ]  # fmt: skip
