"""The result of a comparison of two schedules of a task inside the model."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class FinalInModel:
    """A schedule of a task, compared inside the model with the schedule that is fastest alone.

    Attributes:
        task: The name of the task.
        is_untuned: Whether the schedule is none: the untuned kernel.
        ratio: The time of a call of the model with this schedule, divided by its time with the
            schedule that is the fastest alone; null if it couldn't be measured.
        interval: The confidence interval of the ratio; null if it couldn't be had.
        chosen: Whether the schedule took the place of the other.
        problem: Why it couldn't be measured; empty if it was.
    """

    task: str
    is_untuned: bool
    ratio: float | None = None
    interval: tuple[float, float] | None = None
    chosen: bool = False
    problem: str = ""

    def sentence(self) -> str:
        """Return the result as a sentence."""
        what = "its untuned kernel" if self.is_untuned else "another schedule"
        if self.ratio is None:
            return f"{self.task}: {what} couldn't be measured inside the model: {self.problem}"
        interval = "" if self.interval is None else " ({:.3f} to {:.3f})".format(*self.interval)
        return (
            f"{self.task}: inside the model, {what} takes {self.ratio:.3f}{interval} of the time "
            f"of the schedule that is fastest alone{', and is applied' if self.chosen else ''}"
        )
