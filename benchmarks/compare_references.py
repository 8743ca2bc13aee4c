"""A pytest plugin: each `run.check()` also compares the latency with the runtimes of the model."""

from __future__ import annotations

from typing import Any

from pytest_tvmtune import Run

_check = Run.check


def check_and_compare(self: Run, *args: Any, **named: Any) -> None:
    """Make every check, then compare."""
    _check(self, *args, **named)
    for runtime in self._run.case.model.references:
        self.compare_latency(runtime)


Run.check = check_and_compare  # type: ignore[method-assign]
