"""The tuning tasks of a model, and their results."""

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
    """A tuning task of a model: a distinct workload, with the number of its calls.

    Attributes:
        name: The name that TVM gives the task.
        shash: TVM's structural hash of the workload, 16 hex digits.
        weight: The number of calls of the workload in a call of the entry.
        flop: The estimated floating-point operations of a call, 0.0 without an estimate.
        size_bytes: The size of all arguments.
    """

    name: str
    shash: Shash
    weight: Count
    flop: float = 0.0
    size_bytes: Count = 0

    @property
    def estimate(self) -> float:
        """The estimated cost of a call, in a unit that all tasks share."""
        return self.flop + _FLOP_A_BYTE * self.size_bytes


@dataclass(frozen=True, kw_only=True)
class TaskResult:
    """A task with its tuning results.

    Attributes:
        name: The name that TVM gives the task.
        shash: TVM's structural hash of the workload.
        weight: The number of calls of the workload in a call of the entry.
        state: `tuned`: a valid record is applied. `untuned is faster`: no tried schedule is faster
            than the untuned kernel, so none is applied. `untuned`: the task has no record and no
            trial. `failed`: the task has trials, and none was valid.
        trials: The number of trials of the task, in all runs.
        valid_trials: The number of these trials with a measurement.
        best_s: The best measured time of a call, during tuning.
        measured_on_other_cpu: Whether the best time was measured on another CPU model.
        reason: The reason why the task isn't tuned; empty if it's tuned.
        untuned_s: The time of a call without a schedule, measured as the first candidate.
        replayed_from: The version of TVM that the applied schedule comes from if it wasn't measured
            under this TVM; otherwise empty. Then `best_s` was measured there.
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
    replayed_from: str = ""

    @property
    def is_settled(self) -> bool:
        """Whether tuning has decided which kernel is the fastest; it may be the untuned one."""
        return self.state in _SETTLED
