"""A model's tuning tasks, and what tuning made of each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from pytest_tvmtune.core.json_codec import Count, Shash

TaskState = Literal["tuned", "untuned is faster", "untuned", "failed"]
# What today's CPUs compute in the time that one byte takes from memory, roughly.
_FLOP_A_BYTE = 10
# What a task can come to when nothing is left to be done for it.
_SETTLED: tuple[TaskState, ...] = ("tuned", "untuned is faster")


@dataclass(frozen=True, kw_only=True)
class Task:
    """One tuning task of a model: a distinct workload and how often the model calls it.

    Attributes:
        name: What TVM calls it.
        shash: TVM's structural hash of the workload, 16 hex digits.
        weight: How many calls of it a call of the entry makes.
        flop: Estimated floating-point operations of a call, 0.0 where TVM has no estimate.
        size_bytes: Size of its arguments together.
    """

    name: str
    shash: Shash
    weight: Count
    flop: float = 0.0
    size_bytes: Count = 0

    @property
    def estimate(self) -> float:
        """What one call is likely to cost, in a unit that all tasks share."""
        return self.flop + _FLOP_A_BYTE * self.size_bytes


@dataclass(frozen=True, kw_only=True)
class TaskResult:
    """A task with what tuning made of it.

    Attributes:
        name: What TVM calls it.
        shash: TVM's structural hash of the workload.
        weight: How many calls of it a call of the entry makes.
        state: `tuned`: a valid record is applied. `untuned is faster`: than every schedule that
            was tried, so that none is applied. `untuned`: there is no record, and no trial was
            made. `failed`: trials were made, and none was valid.
        trials: Trials spent on it, in all runs.
        valid_trials: How many of them gave a measurement.
        best_s: Best measured time of a call, at tuning.
        measured_on_other_cpu: Whether that was on another CPU model.
        reason: Why it isn't tuned, empty where it is.
        untuned_s: Time of a call without a schedule, measured as the first candidate.
    """

    name: str
    shash: str
    weight: Count
    state: TaskState
    trials: Count = 0
    valid_trials: Count = 0
    best_s: float | None = None
    measured_on_other_cpu: bool = False
    reason: str = ""
    untuned_s: float | None = None

    @property
    def is_settled(self) -> bool:
        """Whether tuning has decided which kernel is the fastest; it may be the untuned one."""
        return self.state in _SETTLED
