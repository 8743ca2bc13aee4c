"""The tuner's rounds: search, build, measure, store, until the trials are spent; then the finals.

The search for the next round runs while the current round is built. While a round is measured,
nothing else of the plugin runs on the machine.
"""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Any

from pytest_tvmtune.core.clock import now_s
from pytest_tvmtune.core.error_text import cause_of
from pytest_tvmtune.core.job_stage import WAITING, JobStage
from pytest_tvmtune.core.tuning.tuning_curve import improvements
from pytest_tvmtune.machine.fingerprint import usable_cores
from pytest_tvmtune.processes.job import WorkerContext
from pytest_tvmtune.processes.line_tail import LineTail
from pytest_tvmtune.relax.tuning.batch_choice import BatchChoice
from pytest_tvmtune.relax.tuning.batches import Batch, Finalist, arguments_of, plain_arguments
from pytest_tvmtune.relax.tuning.candidates.candidate_builder import (
    BUILD_TIMEOUT_S,
    BuiltCandidate,
    build_candidates,
)
from pytest_tvmtune.relax.tuning.candidates.candidate_runner import MeasuredCandidate
from pytest_tvmtune.relax.tuning.candidates.machine_check import check_machine
from pytest_tvmtune.relax.tuning.candidates.tuning_runner import TuningRunner
from pytest_tvmtune.relax.tuning.task_search import Search, update_cost_model
from pytest_tvmtune.store.locks import exclusive_cores, shared_cores
from pytest_tvmtune.store.tuning.records import LedgerLine, Record, Untuned, Workload
from pytest_tvmtune.store.tuning.samples import add_samples, machine_of
from pytest_tvmtune.store.tuning.workload_files import add_to_workload

if TYPE_CHECKING:
    from tvm.s_tir.meta_schedule.search_strategy import MeasureCandidate
    from tvm.target import Target

    from pytest_tvmtune.relax.tuning.tune_job import Request

_LOG = logging.getLogger(__name__)
# How many of a task's candidates meet again at the end, and how close to the best they must be.
FINALISTS = 4
_CLOSE = 1.3


@dataclass(frozen=True, kw_only=True)
class RoundProgress:
    """How far a run is, after each batch.

    task: the one measured last; best_s: its best so far. improved: (trial, best seconds) of this
    batch, each time that the task's best was beaten.
    """

    done: int
    failed: int
    total: int
    task: str
    best_s: float | None
    improved: tuple[tuple[int, float], ...]


@dataclass(kw_only=True)
class Rounds:
    """One tuning run.

    choice: what the next candidates come from. recorded: the end of the file that the database
    writes. request, context: the job's.
    """

    request: Request
    context: WorkerContext[RoundProgress]
    target: Target
    choice: BatchChoice
    work_dir: Path
    runner: TuningRunner
    recorded: LineTail
    done: int = 0
    finalists: dict[str, list[Finalist]] = field(default_factory=dict)

    def run(self) -> None:
        """Spend the trials."""
        with self._stage("searching", shared_cores()):
            batch = self.choice.next_batch()
        with ThreadPoolExecutor(1) as searcher:
            while batch is not None:
                name = batch.search.task.name
                with self._stage(f"building candidates of {name}", shared_cores()):
                    upcoming = searcher.submit(self.choice.next_batch, batch)
                    built = build_candidates(
                        batch.mods,
                        self.target,
                        max_workers=usable_cores(),
                        timeout_s=BUILD_TIMEOUT_S,
                        scratch=self.work_dir,
                        compiler=self._compiler,
                    )
                    following = upcoming.result()
                with self._stage(f"measuring candidates of {name}", self._machine_alone()):
                    measured = self.runner.measure_all(
                        built, batch.arguments, best_s=batch.search.task_trials.latency_s
                    )
                self._check_machine(measured)
                if batch.is_first:
                    self._enter_untuned(batch, built.pop(0), measured.pop(0))
                self._record(batch, built, measured)
                with self._stage(f"learning from {name}", shared_cores()):
                    run_secs = [result.run_s for result in measured]
                    update_cost_model(batch.search, batch.candidates, run_secs, self.choice.model)
                    self._remember(batch, run_secs)
                    batch = self.choice.in_time(following) or self.choice.next_batch()
        for search in self.choice.searches:
            self._hold_finals(search)

    @contextmanager
    def _stage(self, name: str, cores: AbstractContextManager[None]) -> Iterator[None]:
        """Enter a stage once the machine's cores are free; waiting for them has no time-out."""
        self.context.enter_stage(WAITING)
        with cores:
            self.context.enter_stage(JobStage(f"tuning, {self.done} trials done, {name}", "trials"))
            yield

    @property
    def _compiler(self) -> str:
        return self.request.remote.compiler if self.request.remote else ""

    def _machine_alone(self) -> AbstractContextManager[None]:
        """Hold this machine's cores alone where it measures; a session holds its device."""
        return exclusive_cores() if self.request.remote is None else nullcontext()

    def _check_machine(self, measured: Sequence[MeasuredCandidate]) -> None:
        """Raise TuningError, before anything is recorded, where all failed by this machine."""
        if all(one.run_s is None for one in measured):
            with self._stage("checking this machine", shared_cores()):
                check_machine(
                    [one.problem for one in measured],
                    self.target,
                    self.runner,
                    scratch=self.work_dir,
                    compiler=self._compiler,
                )

    def _remember(self, batch: Batch, run_secs: Sequence[float | None]) -> None:
        """Keep the features of the candidates that ran, from which later runs learn."""
        from pytest_tvmtune.relax.tuning.cost_model import samples_of

        request = self.request
        machine = machine_of(request.machine.cpu, request.num_threads, request.environment)
        try:
            found = samples_of(batch.search, batch.candidates, run_secs)
            if found.run_s:
                add_samples(request.store, request.target_key, machine, found)
        except Exception as error:  # noqa: BLE001  it's no reason to lose a run
            _LOG.warning("samples are not kept: %s", cause_of(error))

    def _enter_untuned(
        self, batch: Batch, built: BuiltCandidate, measured: MeasuredCandidate
    ) -> None:
        """Note what the kernel takes without a schedule; it meets the best in the finals."""
        if measured.run_s is None:
            built.discard()
            return
        batch.search.untuned = self._untuned_of(measured.run_s)
        self._enter_finals(
            batch.search,
            Finalist(
                run_s=measured.run_s,
                data=None,
                args_info=arguments_of(batch.untuned[0]),
                built=built,
            ),
        )

    def _record(
        self, batch: Batch, built: Sequence[BuiltCandidate], measured: Sequence[MeasuredCandidate]
    ) -> None:
        """Put what was measured into the search's database and into the store."""
        from tvm.s_tir.meta_schedule.database import TuningRecord

        search, task_trials = batch.search, batch.search.task_trials
        workload = self.choice.database.commit_workload(search.extracted.dispatched[0])
        valid: list[tuple[float, MeasureCandidate, BuiltCandidate]] = []
        for candidate, one, result in zip(batch.candidates, built, measured, strict=True):
            if result.run_s is None:
                search.errors[result.problem] += 1
                one.discard()
                continue
            valid.append((result.run_s, candidate, one))
            self.choice.database.commit_tuning_record(
                TuningRecord(
                    candidate.sch.trace, workload, [result.run_s], self.target, candidate.args_info
                )
            )
        run_secs = [result.run_s for result in measured]
        improved = improvements(task_trials.latency_s, self.done, run_secs)
        task_trials.end_round([run_s for run_s, _, _ in valid])
        self.done += len(batch.candidates)
        # As the database wrote them: TuningRecord.as_json raises on a trace with an IndexMap.
        written = [json.loads(line)[1] for line in self.recorded.new_lines()]
        for (run_s, candidate, one), data in zip(valid, written, strict=True):
            self._enter_finals(
                search,
                Finalist(
                    run_s=run_s,
                    data=data,
                    args_info=plain_arguments(candidate.args_info),
                    built=one,
                ),
            )
        known = self.store_results(search, records=[self._record_of(data) for data in written])
        best = known.fastest(self.request.machine.cpu)
        self.context.report_progress(
            RoundProgress(
                done=self.done,
                failed=sum(sum(one.errors.values()) for one in self.choice.searches),
                total=self.request.trials,
                task=search.task.name,
                best_s=best.mean_s if best else None,
                improved=tuple(improved),
            )
        )

    def _enter_finals(self, search: Search, one: Finalist) -> None:
        ranked = sorted([*self.finalists.get(search.task.shash, []), one], key=lambda f: f.run_s)
        stay = [f for f in ranked[:FINALISTS] if f.run_s <= _CLOSE * ranked[0].run_s]
        for other in ranked[len(stay) :]:
            other.built.discard()
        self.finalists[search.task.shash] = stay

    def _hold_finals(self, search: Search) -> None:
        """Measure the best of a task once more, in turn, and correct their records by it.

        They were measured rounds apart, while a shared machine changes its speed by more than they
        differ.
        """
        finalists = self.finalists.get(search.task.shash, [])
        if len(finalists) > 1:
            with self._stage(f"finals of {search.task.name}", self._machine_alone()):
                run_secs = self.runner.compare(
                    [(f.built.library, f.args_info) for f in finalists if f.built.library]
                )
            if run_secs:
                # Their ratios count; the level stays, since the other records were taken at it.
                before = fmean(math.log(f.run_s) for f in finalists)
                level = math.exp(before - fmean(map(math.log, run_secs)))
                corrected = []
                for one, run_s in zip(finalists, run_secs, strict=True):
                    if one.data is None:
                        search.untuned = self._untuned_of(run_s * level)
                    else:
                        corrected.append([one.data[0], [run_s * level], *one.data[2:]])
                self.store_results(search, records=[self._record_of(data) for data in corrected])
        for one in finalists:
            one.built.discard()

    def _record_of(self, data: list[Any]) -> Record:
        machine = self.request.machine
        return Record(
            data=data,
            cpu=machine.cpu,
            cores=machine.usable_cores,
            num_threads=self.runner.num_threads,
            at_s=now_s(),
        )

    def _untuned_of(self, run_s: float) -> Untuned:
        machine = self.request.machine
        return Untuned(
            run_s=run_s,
            cpu=machine.cpu,
            cores=machine.usable_cores,
            num_threads=self.runner.num_threads,
            at_s=now_s(),
        )

    def store_results(
        self, search: Search, *, records: Sequence[Record] = (), complete: bool = False
    ) -> Workload:
        """Store records and the trials spent so far; return the workload as it is stored then."""
        request, task_trials = self.request, search.task_trials
        served = LedgerLine(
            run_id=request.run_id,
            at_s=now_s(),
            trials=request.requested_trials,
            max_trials_per_task=request.max_trials_per_task,
            spent=task_trials.spent,
            valid=task_trials.valid,
            complete=complete,
            reason=search.outcome if complete else "",
            environment=request.environment,
            max_time_s=request.max_time_s if self.choice.out_of_time else None,
        )
        workload = Workload(
            shash=search.task.shash,
            name=search.task.name,
            ir=search.ir,
            records=tuple(records),
            served=(served,),
            untuned=(search.untuned,) if search.untuned else (),
        )
        return add_to_workload(request.store, request.target_key, workload, own_ir=True)
