"""The choice of a run: by its number, counted from the last run, or by the file of its report."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from pytest_tvmtune.cli.arguments import existing_store
from pytest_tvmtune.core.errors import ReportError, StoreError, counted
from pytest_tvmtune.store.run_history import list_runs, read_report

RUN_HELP = "the number of a run, `last`, `last~1` (the run before), or a file that --tvm-json wrote"
_LAST = re.compile(r"last(?:~(\d+))?")


def load_run(folder: Path, text: str) -> dict[str, Any]:
    """Return the report of a run.

    Args:
        folder: The store's.
        text: A number, `last`, `last~1`, or the path of a JSON report.

    Raises:
        StoreError: The run doesn't exist.
        ReportError: The file isn't a report, or a later version wrote it.
    """
    match = _LAST.fullmatch(text)
    if match is None and not text.isdecimal():
        return _load_file(Path(text))
    store = existing_store(folder)
    if match is None:
        return read_report(store, int(text))
    back = int(match[1] or 0)
    runs = list_runs(store)
    if back >= len(runs):
        raise StoreError(
            f"{text}: the history has {counted(len(runs), 'run')}; see `tvmtune history`"
        )
    return read_report(store, runs[-1 - back].run)


def _load_file(path: Path) -> dict[str, Any]:
    try:
        loaded = json.loads(path.read_bytes())
    except FileNotFoundError:
        raise ReportError(f"{path} is neither a run nor a file: give {RUN_HELP}") from None
    except (OSError, ValueError) as error:
        raise ReportError(f"{path} can't be read: {error}") from None
    if not isinstance(loaded, dict):
        raise ReportError(f"{path} isn't a report: give a file that --tvm-json wrote")
    return loaded
