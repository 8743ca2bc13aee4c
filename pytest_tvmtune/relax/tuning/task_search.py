"""MetaSchedule's search for one task: its design space, its candidates, what it learns."""

from __future__ import annotations

import logging
import random
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import islice, zip_longest
from typing import TYPE_CHECKING

from pytest_tvmtune.core.error_text import cause_of
from pytest_tvmtune.core.errors import TuningError, all_of
from pytest_tvmtune.core.results.task_result import Task
from pytest_tvmtune.core.tuning.trial_budget import TaskTrials
from pytest_tvmtune.machine.fingerprint import usable_cores
from pytest_tvmtune.relax.compiling.applied_record import apply_record
from pytest_tvmtune.relax.tuning.transfer import Donor, transferred
from pytest_tvmtune.relax.tuning.weight_layouts import lost_elements
from pytest_tvmtune.store.tuning.records import Record, Untuned
from pytest_tvmtune.store.tuning.trace_trust import external_calls

if TYPE_CHECKING:
    from tvm.ir import IRModule
    from tvm.s_tir import Schedule
    from tvm.s_tir.meta_schedule import TuneContext
    from tvm.s_tir.meta_schedule.cost_model import CostModel
    from tvm.s_tir.meta_schedule.database import Database
    from tvm.s_tir.meta_schedule.extracted_task import ExtractedTask
    from tvm.s_tir.meta_schedule.search_strategy import MeasureCandidate

_LOG = logging.getLogger(__name__)
# Of a task, from similar workloads. More would leave too few trials for what the search finds.
MOST_TRANSFERRED = 4
# Until so many of its schedules were measured, a task's space is explored at random: a model that
# has seen less makes rounds of candidates that are all alike.
EXPLORED = 8
# MetaSchedule breeds 512 schedules over 4 generations for each round, seconds of work whatever the
# round's size; here as many a trial, within these bounds.
_SCHEDULES_A_TRIAL = 16
_LEAST_POPULATION = 128
_MOST_POPULATION = 512
_GENERATIONS = 2
# Share of a round that is picked at random: with few samples the model is often wrong.
_EPS_GREEDY = 0.25
_MOST_SPARE = 64
# How often a strategy is asked at most, while all that it proposes loses part of a weight.
_DRAWS = 2


@dataclass(kw_only=True)
class Search:
    """One task on its way.

    ir: MetaSchedule's serialization of the workload, as in a work_dir. explorer, context: its
    random and its evolutionary search. known: structural hashes of the schedules proposed, or
    measured here by earlier runs; measured: how many were measured, or failed. spare: candidates
    proposed and not yet taken. transferred: candidates from similar workloads, not yet proposed.
    lossy: what a schedule would have lost of a weight, which was therefore not proposed. untuned:
    what the kernel takes without a schedule, None until it was
    measured, or where it can't be.
    """

    task: Task
    extracted: ExtractedTask
    ir: str
    task_trials: TaskTrials
    explorer: TuneContext | None = None
    context: TuneContext | None = None
    known: set[int] = field(default_factory=set)
    measured: int = 0
    spare: list[MeasureCandidate] = field(default_factory=list)
    transferred: list[MeasureCandidate] = field(default_factory=list)
    reason: str = ""
    errors: Counter[str] = field(default_factory=Counter)
    lossy: str = ""
    untuned: Untuned | None = None

    @property
    def nothing_proposed(self) -> str:
        """Why a search that came to its end gave no candidate."""
        if self.lossy:
            return f"every schedule that the search finds would be wrong: {self.lossy}"
        return (
            "MetaSchedule finds no valid schedule for this task, for example because a block reads "
            "its own output; more trials don't help"
        )

    @property
    def outcome(self) -> str:
        """Why nothing valid came of it, "" where something did or nothing was tried."""
        task_trials = self.task_trials
        if self.reason or task_trials.valid:
            return self.reason
        if task_trials.spent:
            most_frequent = "no candidate was valid"
            if self.errors:
                most_frequent = self.errors.most_common(1)[0][0]
            return f"{all_of(task_trials.spent, 'candidate')} failed: {most_frequent}"
        # Trials were left for it, and it took none.
        return self.nothing_proposed if task_trials.exhausted and not self.measured else ""


def open_search(task: Task, extracted: ExtractedTask) -> Search:
    """Return the search of a task; nothing is searched yet.

    One whose IR calls external functions is closed at once, since its records would be refused.
    """
    from tvm.s_tir.meta_schedule.database import Workload

    ir = str(Workload(extracted.dispatched[0]).as_json()[1])
    called = external_calls(ir)
    return Search(
        task=task,
        extracted=extracted,
        ir=ir,
        task_trials=TaskTrials(
            name=task.name, weight=task.weight, estimate=task.estimate, exhausted=bool(called)
        ),
        reason=f"never tuned: its IR calls external functions ({', '.join(called)})"
        if called
        else "",
    )


def structural_hash(mod: IRModule) -> int:
    """Return TVM's structural hash of a module."""
    import tvm_ffi

    return int(tvm_ffi.structural_hash(mod))


def start_from(search: Search, record: Record, database: Database, *, own: bool) -> str:
    """Let a search start from a stored record; return why that can't be, "" when it can.

    own: measured on this CPU with this many threads. What others measured is a schedule to start
    from and no yardstick: it may be proposed, and is then measured here like any other. What was
    replayed from another TVM is the first to be measured.
    """
    workload = database.commit_workload(search.extracted.dispatched[0])
    try:
        found, schedule = apply_record(record.data, workload)
        lost = lost_elements(schedule.mod)
    except Exception as error:  # noqa: BLE001  TVM raises several types here
        return cause_of(error)
    if lost:
        return lost
    if record.replayed_from:
        search.spare += _unknown(search, [_candidate(schedule)])
        return ""
    database.commit_tuning_record(found)
    if own:
        search.known.add(structural_hash(schedule.mod))
        search.measured += 1
        search.task_trials.best_s = [min(record.mean_s, search.task_trials.latency_s)]
    return ""


def generate(
    search: Search,
    *,
    round_size: int,
    seed: int,
    database: Database,
    model: CostModel,
    donors: Callable[[], Sequence[Donor]],
    most: int,
) -> list[MeasureCandidate]:
    """Return the next candidates of a task, at most `most`; none when there are no more.

    Half of the first candidates come from similar workloads if the task has few records. A design
    space that can't be generated costs this task only: the task_trials is closed and the reason
    noted.
    """
    try:
        if search.explorer is None:
            _prepare(search, round_size, seed=seed, database=database, model=model)
            if search.measured < EXPLORED:
                search.transferred = _transferred(search, donors, seed)
        # In turn, the search's own first: a schedule that applies to a similar workload may still
        # not build, and a task with few trials shall not get such schedules alone.
        pairs = zip_longest(_propose(search), search.transferred)
        found = [one for pair in pairs for one in pair if one is not None]
        search.transferred = []
    except (OSError, MemoryError):
        raise  # the machine's, and not the task's
    except Exception as error:  # noqa: BLE001  a schedule rule raises whatever it likes
        what = "the search failed" if search.explorer else "no design space"
        search.reason = f"{what}: {cause_of(error)}"
        found = []
    # What was proposed is never proposed again: what is too many now is kept for later. In a space
    # so large that they mount up, the last ones are never missed.
    candidates, search.spare = found[:most], found[most:][:_MOST_SPARE]
    search.task_trials.exhausted = not candidates
    return candidates


def _transferred(
    search: Search, donors: Callable[[], Sequence[Donor]], seed: int
) -> list[MeasureCandidate]:
    """Return new candidates from similar workloads, none if anything goes wrong.

    What would lose part of a weight is no candidate.
    """
    try:
        schedules = transferred(search.explorer, donors(), _own_seed(search, seed))
        candidates = (_candidate(one) for one in schedules if not lost_elements(one.mod))
        new = (one for candidate in candidates for one in _unknown(search, [candidate]))
        return list(islice(new, MOST_TRANSFERRED))
    except (OSError, MemoryError):
        raise  # the machine's, and not the task's
    except Exception as error:  # noqa: BLE001  TVM raises several types here
        _LOG.warning("%s: nothing transferred: %s", search.task.name, cause_of(error))
        return []


def _candidate(schedule: Schedule) -> MeasureCandidate:
    from tvm.s_tir.meta_schedule.arg_info import ArgInfo
    from tvm.s_tir.meta_schedule.search_strategy import MeasureCandidate

    return MeasureCandidate(schedule, ArgInfo.from_entry_func(schedule.mod, remove_preproc=True))


def _propose(search: Search) -> list[MeasureCandidate]:
    """Return new candidates, the most promising first, then those left over before.

    What would compute with part of a weight is none.
    """
    exploring = search.measured < EXPLORED
    if exploring and search.spare:
        return search.spare
    for context in (search.explorer, search.context)[not exploring :]:
        assert context is not None
        for _ in range(_DRAWS):
            new = _unknown(search, context.generate_measure_candidates() or [])
            losses = [lost_elements(candidate.sch.mod) for candidate in new]
            kept = [one for one, lost in zip(new, losses, strict=True) if not lost]
            search.lossy = next(filter(None, losses), search.lossy)
            if kept:
                return [*kept, *search.spare]
            if not new:
                break
    return search.spare


def _unknown(search: Search, candidates: Sequence[MeasureCandidate]) -> list[MeasureCandidate]:
    """Return those that were never proposed; they are known now."""
    found = []
    for candidate in candidates:
        shash = structural_hash(candidate.sch.mod)
        if shash not in search.known:
            search.known.add(shash)
            found.append(candidate)
    return found


def _own_seed(search: Search, seed: int) -> int:
    """Return the seed of a task, which doesn't depend on the other tasks."""
    return random.Random(f"{seed} {search.task.shash}").randrange(1, 2**31 - 1)  # noqa: S311


def update_cost_model(
    search: Search,
    candidates: Sequence[MeasureCandidate],
    run_secs: Sequence[float | None],
    model: CostModel,
) -> None:
    """Update the cost model with measured times, None where measuring failed."""
    from tvm.s_tir.meta_schedule.runner import RunnerResult

    results = [
        RunnerResult(None, "failed") if s is None else RunnerResult([s], None) for s in run_secs
    ]
    search.measured += len(candidates)
    model.update(search.context, candidates, results)


def _prepare(
    search: Search, round_size: int, *, seed: int, database: Database, model: CostModel
) -> None:
    """Generate the design space, and open both strategies on it."""
    from tvm.s_tir.meta_schedule import TuneContext
    from tvm.s_tir.meta_schedule.search_strategy import EvolutionarySearch, ReplayTrace

    population = min(_MOST_POPULATION, max(_LEAST_POPULATION, _SCHEDULES_A_TRIAL * round_size))
    evolution = EvolutionarySearch(
        population_size=population, genetic_num_iters=_GENERATIONS, eps_greedy=_EPS_GREEDY
    )
    contexts = [
        TuneContext(
            mod=search.extracted.dispatched[0],
            target=search.extracted.target,
            space_generator="post-order-apply",
            search_strategy=strategy,
            task_name=search.task.name,
            rand_state=_own_seed(search, seed),
            num_threads=usable_cores(),
        )
        for strategy in (ReplayTrace(), evolution)
    ]
    spaces = contexts[0].generate_design_space()
    if not spaces:
        raise TuningError("MetaSchedule's rules give no schedule")
    # Evolution starts from what is known, and proposes the best of it once more. Neither strategy
    # is told of results, of which they only count how many there were.
    for context, size in zip(contexts, (2 * EXPLORED, round_size + 2 * EXPLORED), strict=True):
        context.pre_tuning(size, size, spaces, database, model)
    search.explorer, search.context = contexts
