"""Workloads whose schedules a search may start from: of the store, of baselines, and of this run.

Reading them takes some milliseconds each, so it's only done where a task has few records.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import chain
from typing import TYPE_CHECKING

from pytest_tvmtune.relax.tuning.transfer import SCHEDULES_EACH, Donor, blocks_of
from pytest_tvmtune.store.accepted.baseline_files import all_records
from pytest_tvmtune.store.layout import Store
from pytest_tvmtune.store.tuning.records import Workload
from pytest_tvmtune.store.tuning.workload_files import newest_workloads

if TYPE_CHECKING:
    from tvm.s_tir.meta_schedule.database import Database

    from pytest_tvmtune.relax.tuning.task_search import Search

# So that the size of a store doesn't count.
MOST_STORED = 256


def stored_donors(store: Store, key: str, cpu: str, leave_out: frozenset[str]) -> list[Donor]:
    """Return the donors that a store has, the newest first, then those that its baselines keep.

    Args:
        store: The store, with its fallbacks.
        key: The target key.
        cpu: Whose measurements count, if there are any.
        leave_out: The hashes of workloads that aren't needed.
    """
    seen = set(leave_out)
    donors: list[Donor] = []
    accepted = (workload for its_key, workload in all_records(store) if its_key == key)
    for one in chain(newest_workloads(store, key, MOST_STORED), accepted):
        if len(donors) == MOST_STORED:
            break
        if one.shash not in seen and (donor := _stored_donor(one, cpu)) is not None:
            seen.add(one.shash)
            donors.append(donor)
    return donors


def _stored_donor(workload: Workload, cpu: str) -> Donor | None:
    """Return a workload as a donor, None where it has no good schedule or can't be read."""
    from tvm.s_tir.meta_schedule.database import TuningRecord
    from tvm.s_tir.meta_schedule.database import Workload as TvmWorkload

    best = workload.best(cpu)
    if best is None:
        return None
    ranked = [one for one in workload.records if one.cpu == best.cpu][:SCHEDULES_EACH]
    try:
        its = TvmWorkload.from_json([str(int(workload.shash, 16)), workload.ir])
        return Donor(
            mod=its.mod,
            blocks=blocks_of(its.mod),
            traces=tuple(TuningRecord.from_json(one.data, its).trace for one in ranked),
        )
    except (OSError, MemoryError):
        raise
    except Exception:  # noqa: BLE001  TVM raises several types for IR or a trace that it can't read
        return None


def donors_of_run(searches: Iterable[Search], database: Database) -> Iterator[Donor]:
    """Yield the tasks of this run that have a schedule which is faster than none."""
    for search in searches:
        untuned_s = search.untuned.run_s if search.untuned else float("inf")
        if search.task_trials.latency_s < untuned_s:
            mod = search.extracted.dispatched[0]
            best = database.get_top_k(database.commit_workload(mod), SCHEDULES_EACH)
            if best:
                traces = tuple(one.trace for one in best)
                yield Donor(mod=mod, blocks=blocks_of(mod), traces=traces)
