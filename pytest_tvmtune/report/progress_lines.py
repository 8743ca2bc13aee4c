"""The progress of tuning and of other long stages: a moving line on a terminal, or plain lines."""

from __future__ import annotations

import threading
from typing import Any, TextIO

from pytest_tvmtune.core.clock import monotonic_s
from pytest_tvmtune.core.results.progress import StageProgress, TuningProgress
from pytest_tvmtune.report.text_tables import format_seconds

FIRST_LINE_AFTER_S = 10.0
PLAIN_LINE_EVERY_S = 30.0
# If a case reports nothing for so long, the test does something else, or another test runs.
_PAUSE_S = 5.0


class ProgressDisplay:
    """A moving line on a terminal, a line every 30 s elsewhere, nothing without a stream.

    Trials are shown from the first trial on. Other stages are shown after the case has run for
    `first_after_s` without a pause. Any thread can call it. lead: is written before each line.
    """

    def __init__(
        self,
        stream: TextIO | None,
        *,
        first_after_s: float = FIRST_LINE_AFTER_S,
        every_s: float = PLAIN_LINE_EVERY_S,
        lead: str = "",
    ) -> None:
        self._stream, self._lead = stream, lead
        self._first_after_s, self._every_s = first_after_s, every_s
        self._lock = threading.Lock()
        self._bar: Any = None
        self._bar_of: type = TuningProgress
        self._started_s = monotonic_s()
        self._last_line_s = {TuningProgress: float("-inf"), StageProgress: float("-inf")}
        self._case, self._case_since_s, self._case_seen_s = "", 0.0, float("-inf")

    def __call__(self, progress: TuningProgress | StageProgress) -> None:
        """Show the progress of a case. Its last call clears the display."""
        if self._stream is None:
            return
        with self._lock:
            if isinstance(progress, TuningProgress):
                self._show_trials(progress, self._stream)
            else:
                self._show_stage(progress, self._stream)

    def _show_trials(self, progress: TuningProgress, stream: TextIO) -> None:
        if stream.isatty():
            self._show_bar(progress, stream)
        elif progress.finished or not (progress.done or progress.note):
            self._started_s = monotonic_s()  # a case begins or ends
        elif self._is_time_for(progress):
            self._write_line(self._line(progress), stream)

    def _show_stage(self, progress: StageProgress, stream: TextIO) -> None:
        now = monotonic_s()
        if not progress.stage:
            self._case_seen_s = now
            self._close_bar(StageProgress)
            return
        if progress.label != self._case or now - self._case_seen_s > _PAUSE_S:
            self._case, self._case_since_s = progress.label, now - progress.spent_s
        self._case_seen_s = now
        if now - self._case_since_s < self._first_after_s:
            return
        text = f"{progress.label}: {progress.stage}, {progress.spent_s:.0f} s"
        if stream.isatty():
            self._open_bar(StageProgress, stream, bar_format="{desc}")
            if self._bar_of is StageProgress:  # the bar of the trials has more details
                self._bar.set_description_str(text)
        elif self._is_time_for(progress):
            self._write_line(text, stream)

    def _is_time_for(self, progress: TuningProgress | StageProgress) -> bool:
        now = monotonic_s()
        if now - self._last_line_s[type(progress)] < self._every_s:
            return False
        self._last_line_s[type(progress)] = now
        return True

    def _write_line(self, text: str, stream: TextIO) -> None:
        stream.write(f"{self._lead}{text}\n")
        stream.flush()

    def _line(self, progress: TuningProgress) -> str:
        if progress.note:
            return f"tuning {progress.label}: {progress.note}"
        spent_s = monotonic_s() - self._started_s
        left_s = spent_s / progress.done * (progress.total - progress.done)
        details = [*_details(progress), f"about {left_s:.0f} s left"]
        counts = f"{progress.done}/{progress.total} trials"
        return f"tuning {progress.label}: {counts}, {', '.join(details)}"

    def _show_bar(self, progress: TuningProgress, stream: TextIO) -> None:
        self._close_bar(StageProgress)
        if progress.finished:
            self._close_bar(TuningProgress)
            return
        self._open_bar(
            TuningProgress,
            stream,
            total=progress.total or None,
            desc=f"tuning {progress.label}",
            unit="trial",
        )
        self._bar.total = progress.total or self._bar.total
        self._bar.set_postfix_str(", ".join(_details(progress)), refresh=False)
        self._bar.update(max(0, progress.done - self._bar.n))
        self._bar.refresh()

    def _open_bar(self, kind: type, stream: TextIO, **look: Any) -> None:
        if self._bar is None:
            from tqdm import tqdm

            stream.write(self._lead)
            self._bar = tqdm(file=stream, leave=False, dynamic_ncols=True, **look)
            self._bar_of = kind

    def _close_bar(self, kind: type) -> None:
        if self._bar is not None and self._bar_of is kind:
            self._bar.close()
            self._bar = None


def _details(progress: TuningProgress) -> list[str]:
    details = [progress.note] if progress.note else []
    if progress.task:
        best = "none valid" if progress.best_s is None else format_seconds(progress.best_s)
        details.append(f"{progress.task} {best}")
    if progress.failed:
        details.append(f"{progress.failed} failed")
    return details
