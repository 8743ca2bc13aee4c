"""The progress of a case: plain values that are shown and then dropped."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class TuningProgress:
    """The progress of tuning a case.

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
    """The current stage of a case, except tuning, and its duration; without a stage, it's over."""

    label: str
    stage: str = ""
    spent_s: float = 0.0
