"""Merging tuning records: in whatever order and grouping, twice or once, it comes to the same."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

from hypothesis import given
from hypothesis import strategies as st

from pytest_tvmtune.store.tuning.record_lines import dump, parse
from pytest_tvmtune.store.tuning.records import KEPT_RECORDS, Record, Workload, keep_best, merge
from pytest_tvmtune.store.tuning.work_dirs import read_work_dir, write_work_dir
from tests.support.sample_records import KEY, SHASH, record, refusal, served, untuned, workload

CPUS = st.sampled_from(["one CPU", "other CPU"])
SECONDS = st.sampled_from([1e-3, 2e-3, 3e-3])
TIMES_S = st.sampled_from([1.0, 2.0, 3.0])


def records(schedules: int) -> st.SearchStrategy[Record]:
    return st.builds(
        lambda seconds, trace, cpu, at_s: replace(record(seconds, f"t{trace}", cpu), at_s=at_s),
        SECONDS,
        st.integers(1, schedules),
        CPUS,
        TIMES_S,
    )


LEDGER = st.builds(
    lambda run, spent, complete: served(64, run_id=f"run {run}", spent=spent, complete=complete),
    st.integers(1, 3),
    st.integers(0, 3),
    st.booleans(),
)
UNTUNED = st.builds(
    lambda run_s, cpu, threads, at_s: untuned(run_s, cpu, num_threads=threads, at_s=at_s),
    SECONDS,
    CPUS,
    st.sampled_from([1, 4]),
    TIMES_S,
)
REFUSED = st.integers(1, KEPT_RECORDS).map(lambda trace: refusal(record(1.0, f"t{trace}")))


def workloads(schedules: int) -> st.SearchStrategy[Workload]:
    """Return workloads that know some of this many schedules."""
    return st.builds(
        lambda known, ledger, untuned, refused: workload(
            *known, served=tuple(ledger), untuned=tuple(untuned), refused=tuple(refused)
        ),
        st.lists(records(schedules), max_size=6 * schedules // KEPT_RECORDS),
        st.lists(LEDGER, max_size=3),
        st.lists(UNTUNED, max_size=3),
        st.lists(REFUSED, max_size=2),
    )


# As many schedules as are kept of a CPU: which others are dropped depends on the order.
WORKLOADS = workloads(KEPT_RECORDS)


@given(one=WORKLOADS, other=WORKLOADS)
def test_the_order_does_not_count(one: Workload, other: Workload) -> None:
    assert merge(one, other) == merge(other, one)


@given(one=WORKLOADS, two=WORKLOADS, three=WORKLOADS)
def test_the_grouping_does_not_count(one: Workload, two: Workload, three: Workload) -> None:
    assert merge(merge(one, two), three) == merge(one, merge(two, three)) == merge(one, two, three)


@given(one=WORKLOADS, other=WORKLOADS)
def test_what_is_known_adds_nothing(one: Workload, other: Workload) -> None:
    merged = merge(one, other)
    assert merge(merged) == merge(merged, one) == merge(merged, other, merged) == merged


@given(found=st.lists(records(3 * KEPT_RECORDS), max_size=40))
def test_each_cpu_keeps_its_best(found: list[Record]) -> None:
    kept = keep_best(found)
    assert [one.mean_s for one in kept] == sorted(one.mean_s for one in kept)
    for cpu in ("one CPU", "other CPU"):
        own = [one for one in found if one.cpu == cpu]
        own.sort(key=lambda one: (one.at_s, -one.mean_s))
        latest = {one.digest: one for one in own}
        best = sorted(one.mean_s for one in latest.values())[:KEPT_RECORDS]
        assert [one.mean_s for one in kept if one.cpu == cpu] == best


@given(known=WORKLOADS)
def test_a_file_of_it_is_read_back(known: Workload) -> None:
    merged = merge(known)
    assert parse(KEY, SHASH, dump(KEY, merged).encode()) == (merged, "")


@given(known=WORKLOADS, cut=st.integers(0, 3000))
def test_a_file_cut_off_anywhere_keeps_its_whole_lines(known: Workload, cut: int) -> None:
    merged = merge(known)
    content = dump(KEY, merged).encode()
    read, problem = parse(KEY, SHASH, content[:cut])
    if cut >= len(content):
        assert (read, problem) == (merged, "")
    elif read is None:
        assert content[:cut].count(b"\n") <= 1
    else:
        assert set(read.refused) <= set(merged.refused)
        assert bool(problem) == (content[cut - 1 : cut] != b"\n")


@given(known=WORKLOADS)
def test_a_work_dir_of_it_is_read_back(known: Workload) -> None:
    merged = replace(merge(known), records=merge(known).records[:KEPT_RECORDS])
    with TemporaryDirectory() as folder:
        write_work_dir(Path(folder), [(merged, merged.records)])
        workloads, problems = read_work_dir(Path(folder))
    assert problems == []
    data = {one.digest: one.data for one in merged.records}
    assert {one.digest for read in workloads for one in read.records} == set(data)
    assert all(read.shash == merged.shash and read.ir == merged.ir for read in workloads)
