"""The distribution of trials: a round for every task, then rounds with the largest expected gain.

The rules work on plain values, so they can be tested without a tuner.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

# Why a run makes no more trials: nothing was to be tuned, all were made or no task has candidates,
# no task was getting faster, or the time for tuning was over.
TuningEnd = Literal["", "trials", "convergence", "time"]
MAX_ROUND = 32
# Source of both: Zheng et al., Ansor, OSDI 2020, section 6.2, and gradient_based.cc in TVM.
_ALPHA = 0.2
_WINDOW = 3
# A task that so many trials made no faster by this share has converged.
FRUITLESS_TRIALS = 64
LEAST_GAIN = 0.01


@dataclass(kw_only=True)
class TaskTrials:
    """What one task was given so far.

    estimate: cost before anything was measured, in any unit that all tasks share. best_s: the
    best measured seconds of one call, as earlier runs left it, then after each round; infinity
    while nothing valid came. exhausted: the search has no more candidates, or gave up. earlier:
    trials of earlier runs, which a cap counts too. gained_s, gained_at: the best seconds after the
    last gain that counts, and the trials spent by then.
    """

    name: str
    weight: int
    estimate: float
    earlier: int = 0
    spent: int = 0
    valid: int = 0
    exhausted: bool = False
    best_s: list[float] = field(default_factory=list)
    gained_s: float = math.inf
    gained_at: int = 0

    def end_round(self, run_secs: Sequence[float]) -> None:
        """Note the seconds of a call of each valid candidate of a round."""
        self.valid += len(run_secs)
        self.best_s.append(min([self.latency_s, *run_secs]))
        if self.latency_s < (1 - LEAST_GAIN) * self.gained_s:
            self.gained_s, self.gained_at = self.latency_s, self.spent

    @property
    def converged(self) -> bool:
        """Whether more trials aren't expected to make it faster."""
        return self.latency_s < math.inf and self.spent - self.gained_at >= FRUITLESS_TRIALS

    def room(self, left: int, cap: int | None) -> int:
        """Return how many more trials it may have."""
        return left if cap is None else min(left, cap - self.earlier - self.spent)

    @property
    def latency_s(self) -> float:
        """Best measured seconds of one call, infinity when there is none."""
        return self.best_s[-1] if self.best_s else math.inf


def round_size(trials: int, tasks: int, cap: int | None) -> int:
    """Return how many candidates make a round: half a fair share, so that a second round can learn.

    Within 1 and MAX_ROUND, and no more than the cap of one task.
    """
    share = trials // max(1, tasks)
    return max(1, min(MAX_ROUND, math.ceil(share / 2), cap or MAX_ROUND))


def next_task(
    all_tasks: Sequence[TaskTrials], *, left: int, cap: int | None, patience: int
) -> TaskTrials | None:
    """Return the task whose round is next, or None when no trial should be spent any more.

    First, every task without a round gets a round, the costliest first. Then tasks without a valid
    candidate get `patience` candidates. Then the task with the largest expected gain is next, of
    those that have not converged. left: the trials that are left.
    """
    if left < 1:
        return None
    open_ = [one for one in all_tasks if not one.exhausted and one.room(left, cap) > 0]
    untried = [one for one in open_ if not one.spent]
    if untried:
        return max(untried, key=lambda one: one.weight * one.estimate)
    fruitless = [one for one in open_ if one.latency_s == math.inf and one.spent < patience]
    if fruitless:
        return min(fruitless, key=lambda one: one.spent)
    measured = [one for one in open_ if one.latency_s < math.inf and not one.converged]
    return max(measured, key=expected_gain, default=None)


def expected_gain(one: TaskTrials) -> float:
    """Return the seconds of a whole model run that another trial on this task may save.

    It combines the savings of the last rounds with the optimistic guess that the latency continues
    to fall in proportion to the trials.
    """
    rounds = len(one.best_s)
    optimistic = one.latency_s / max(1, one.spent)
    if rounds <= _WINDOW or not math.isfinite(one.best_s[-1 - _WINDOW]):
        return one.weight * optimistic
    trials = one.spent * _WINDOW / rounds
    recent = (one.best_s[-1 - _WINDOW] - one.best_s[-1]) / trials
    return one.weight * (_ALPHA * recent + (1 - _ALPHA) * optimistic)
