"""What is being done for a case, for whoever waits: plain values that are shown and forgotten."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class TuningProgress:
    """How far the tuning of one case is.

    task: the one measured last; best_s: its best so far. note: what it waits for, "" when it
    doesn't.
    """

    label: str
    done: int = 0
    total: int = 0
    failed: int = 0
    task: str = ""
    best_s: float | None = None
    note: str = ""
    finished: bool = False


@dataclass(frozen=True, kw_only=True)
class StageProgress:
    """What is done for a case, but for trials, and for how long; without a stage: it is over."""

    label: str
    stage: str = ""
    spent_s: float = 0.0
