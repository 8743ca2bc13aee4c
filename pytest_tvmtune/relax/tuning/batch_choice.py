"""Which task gets the next candidates, how many, and why there are no more."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property, partial
from typing import TYPE_CHECKING

from pytest_tvmtune.core.clock import monotonic_s
from pytest_tvmtune.core.tuning.trial_budget import FRUITLESS_TRIALS, TuningEnd, next_task
from pytest_tvmtune.relax.tuning.batches import Batch
from pytest_tvmtune.relax.tuning.donors import donors_of_run, stored_donors
from pytest_tvmtune.relax.tuning.task_search import Search, generate
from pytest_tvmtune.relax.tuning.transfer import Donor

if TYPE_CHECKING:
    from tvm.s_tir.meta_schedule.cost_model import CostModel
    from tvm.s_tir.meta_schedule.database import Database

    from pytest_tvmtune.relax.tuning.tune_job import Request

_FIRST_IN_A_HURRY = 2


@dataclass(kw_only=True)
class BatchChoice:
    """The searches of a run, what they share, and the trials that are left.

    deadline_s: on the monotonic clock, infinity without one. out_of_time: whether it was passed
    while trials were left.
    """

    request: Request
    searches: list[Search]
    database: Database
    model: CostModel
    round_size: int
    left: int
    deadline_s: float
    out_of_time: bool = False

    @property
    def ended_by(self) -> TuningEnd:
        """Why there are no more candidates."""
        if self.out_of_time:
            return "time"
        converged = any(one.task_trials.converged for one in self.searches)
        return "convergence" if converged and self.left else "trials"

    def next_batch(self, under_way: Batch | None = None) -> Batch | None:
        """Return the next candidates, or None when the trials are spent, or the time is over.

        under_way: a batch of which nothing is known yet; when its task would be next again, None.
        """
        cap = self.request.max_trials_per_task
        # Its fair share, but not its first rounds only.
        patience = max(2 * self.round_size, self.request.trials // len(self.searches))
        while not self._is_late():
            task_trials = next_task(
                [one.task_trials for one in self.searches],
                left=self.left,
                cap=cap,
                patience=min(patience, FRUITLESS_TRIALS),
            )
            search = next((one for one in self.searches if one.task_trials is task_trials), None)
            if search is None or (under_way is not None and search is under_way.search):
                return None
            candidates = generate(
                search,
                round_size=self.round_size,
                seed=self.request.seed,
                database=self.database,
                model=self.model,
                donors=partial(self._donors, search),
                most=self._most_candidates(search),
            )
            if candidates := candidates[: search.task_trials.room(self.left, cap)]:
                is_first = not search.task_trials.spent
                search.task_trials.spent += len(candidates)
                self.left -= len(candidates)
                return Batch(search=search, candidates=candidates, is_first=is_first)
        return None

    def in_time(self, batch: Batch | None) -> Batch | None:
        """Return a batch that was not begun, None if the time is over; then its trials are left."""
        if batch is None or monotonic_s() <= self.deadline_s:
            return batch
        self.out_of_time = True
        batch.search.task_trials.spent -= len(batch.candidates)
        self.left += len(batch.candidates)
        return None

    def _is_late(self) -> bool:
        self.out_of_time = self.out_of_time or (self.left > 0 and monotonic_s() > self.deadline_s)
        return self.out_of_time

    def _most_candidates(self, search: Search) -> int:
        """Return the size of a round: small at first, so that each task gets some of the time."""
        hurry = self.deadline_s < math.inf and not search.task_trials.spent
        return min(self.round_size, _FIRST_IN_A_HURRY) if hurry else self.round_size

    def _donors(self, search: Search) -> list[Donor]:
        others = [one for one in self.searches if one is not search]
        return [*donors_of_run(others, self.database), *self._stored_donors]

    @cached_property
    def _stored_donors(self) -> list[Donor]:
        request = self.request
        return stored_donors(
            request.store, request.target_key, request.machine.cpu, leave_out=request.shashes
        )
