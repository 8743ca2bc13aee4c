"""How long a stage of a case has been under way, for the code that shows it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from pytest_tvmtune.core.background import repeatedly
from pytest_tvmtune.core.clock import monotonic_s
from pytest_tvmtune.core.job_stage import WAITING
from pytest_tvmtune.core.results.progress import StageProgress
from pytest_tvmtune.stages.case import Case, Observer
from pytest_tvmtune.store.locks import shared_cores

_TICK_S = 0.5


@contextlib.contextmanager
def under_way(observer: Observer | None, label: str, stage: str) -> Iterator[None]:
    """Report, from a thread, how long what this process does inside goes on."""
    if observer is None:
        yield
        return
    started = monotonic_s()

    def report() -> None:
        observer(StageProgress(label=label, stage=stage, spent_s=monotonic_s() - started))

    try:
        with repeatedly(report, every_s=_TICK_S, name="tvmtune-progress"):
            yield
    finally:
        observer(StageProgress(label=label))


@contextlib.contextmanager
def held(case: Case, cores: contextlib.AbstractContextManager[None]) -> Iterator[None]:
    """Hold the machine's cores for a case, and report how long it waits for them."""
    with contextlib.ExitStack() as stack:
        with under_way(case.run_context.on_progress, case.label, WAITING.text):
            stack.enter_context(cores)
        yield


@contextlib.contextmanager
def running(case: Case) -> Iterator[None]:
    """Load and run a model in this process, while no process measures; on a device, at any time."""
    if case.remote is not None:
        yield
        return
    observer = case.run_context.on_progress
    with held(case, shared_cores()), under_way(observer, case.label, "loading and running it"):
        yield
