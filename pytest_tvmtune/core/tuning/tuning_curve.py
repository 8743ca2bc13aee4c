"""The best latency in the course of tuning: plain values for reports."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pytest_tvmtune.core.json_codec import Count


@dataclass(frozen=True, kw_only=True)
class TuningPoint:
    """A trial that made a task faster, or the best time of earlier runs.

    Attributes:
        trial: The number of trials until then, of all tasks.
        task: The name of the task.
        best_s: The time of a call of the task.
        together_s: The time of all calls of all tasks that are tuned in this run; null while a task
            has no candidate that ran.
    """

    trial: Count
    task: str
    best_s: float
    together_s: float | None = None


def improvements(
    best_s: float, done: int, run_secs: Sequence[float | None]
) -> list[tuple[int, float]]:
    """Return (trial, best seconds) for each trial of a round that was better than all before.

    best_s: what the round began with, infinity for nothing, else the first of the list. done:
    trials before the round. run_secs: in the order of the trials, None for one that failed.
    """
    found = [(done, best_s)] if best_s < math.inf else []
    for trial, run_s in enumerate(run_secs, start=done + 1):
        if run_s is not None and run_s < best_s:
            best_s = run_s
            found.append((trial, run_s))
    return found


def extend_curve(
    curve: list[TuningPoint],
    task: str,
    improved: Sequence[tuple[int, float]],
    weights: Mapping[str, int],
) -> None:
    """Add a round's improvements; what the curve has already is left out.

    weights: how often the model calls each of the tasks that are tuned in this run.
    """
    best = {point.task: point.best_s for point in curve}
    for trial, best_s in improved:
        if best_s >= best.get(task, math.inf):
            continue
        best[task] = best_s
        every = weights.keys() <= best.keys()
        together_s = sum(weights[name] * best[name] for name in weights) if every else None
        curve.append(TuningPoint(trial=trial, task=task, best_s=best_s, together_s=together_s))
