"""The display of progress in a run of pytest."""

from __future__ import annotations

import contextlib
import os
import sys
from typing import Any, TextIO

import pytest

from pytest_tvmtune.plugin.state import is_worker
from pytest_tvmtune.report.progress_lines import ProgressDisplay


def progress_display(config: pytest.Config, **times: Any) -> ProgressDisplay:
    """Return a display that also shows lines while pytest captures output.

    It shows nothing with -q and in workers. times: as ProgressDisplay takes them.
    """
    silent = config.getoption("verbose", 0) < 0 or is_worker(config)
    stream = None if silent else _uncaptured_stderr(config)
    # pytest's own line of dots has no end yet.
    return ProgressDisplay(stream, lead="\n", **times)


def _uncaptured_stderr(config: pytest.Config) -> TextIO:
    """Return pytest's original stderr, which stays the same while pytest captures output.

    Suspending the capture for each line would also show the output of the test.
    """
    capture = config.pluginmanager.getplugin("capturemanager")
    with contextlib.nullcontext() if capture is None else capture.global_and_fixture_disabled():
        stream = sys.stderr
        try:
            descriptor = os.dup(stream.fileno())
        except (OSError, ValueError, AttributeError):
            return stream  # it is no file
    copy = os.fdopen(descriptor, "w", encoding=stream.encoding, errors="backslashreplace")
    config.add_cleanup(copy.close)
    return copy
