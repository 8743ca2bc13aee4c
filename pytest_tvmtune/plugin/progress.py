"""How tuning goes on, shown while pytest captures output: a tqdm line, or plain lines."""

from __future__ import annotations

import sys
from typing import Any

import pytest

from pytest_tvmtune.core.clock import monotonic_s
from pytest_tvmtune.core.results import TuningProgress
from pytest_tvmtune.plugin.state import is_worker
from pytest_tvmtune.report.tables import format_seconds

PLAIN_LINE_EVERY_S = 30.0


class ProgressDisplay:
    """One line on a terminal, one every 30 s elsewhere, nothing under -q and in xdist workers."""

    def __init__(self, config: pytest.Config) -> None:
        self._capture = config.pluginmanager.getplugin("capturemanager")
        self._silent = config.getoption("verbose", 0) < 0 or is_worker(config)
        self._bar: Any = None
        self._started_s = monotonic_s()
        self._last_line_s = float("-inf")

    def __call__(self, progress: TuningProgress) -> None:
        """Show how far a case is; its last call clears the display."""
        if self._silent:
            return
        if self._capture is None:
            self._show(progress)
        else:
            with self._capture.global_and_fixture_disabled():
                self._show(progress)

    def _show(self, progress: TuningProgress) -> None:
        if sys.stderr.isatty():
            self._show_bar(progress)
        elif progress.finished or not (progress.done or progress.note):
            self._started_s = monotonic_s()  # a case begins or ends
        elif monotonic_s() - self._last_line_s >= PLAIN_LINE_EVERY_S:
            self._last_line_s = monotonic_s()
            sys.stderr.write(f"\n{self._line(progress)}\n")

    def _line(self, progress: TuningProgress) -> str:
        if progress.note:
            return f"tuning {progress.label}: {progress.note}"
        spent_s = monotonic_s() - self._started_s
        left_s = spent_s / progress.done * (progress.total - progress.done)
        details = [*_details(progress), f"about {left_s:.0f} s left"]
        counts = f"{progress.done}/{progress.total} trials"
        return f"tuning {progress.label}: {counts}, {', '.join(details)}"

    def _show_bar(self, progress: TuningProgress) -> None:
        from tqdm import tqdm

        if progress.finished:
            if self._bar is not None:
                self._bar.close()
                self._bar = None
            return
        if self._bar is None:
            sys.stderr.write("\n")
            self._bar = tqdm(
                total=progress.total or None,
                desc=f"tuning {progress.label}",
                unit="trial",
                file=sys.stderr,
                leave=False,
                dynamic_ncols=True,
            )
        self._bar.total = progress.total or self._bar.total
        self._bar.set_postfix_str(", ".join(_details(progress)), refresh=False)
        self._bar.update(max(0, progress.done - self._bar.n))
        self._bar.refresh()


def _details(progress: TuningProgress) -> list[str]:
    details = [progress.note] if progress.note else []
    if progress.task:
        best = "none valid" if progress.best_s is None else format_seconds(progress.best_s)
        details.append(f"{progress.task} {best}")
    if progress.failed:
        details.append(f"{progress.failed} failed")
    return details
