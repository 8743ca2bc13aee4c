"""The logs of a case: one file a stage, which the child processes of that stage print to."""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from pytest_tvmtune.store.layout import Store, slug

LogStage = Literal[
    "import", "pipeline", "plan", "check", "replay", "build", "tune", "run", "crash", "reference",
    "divergence", "gate", "kernels",
]  # fmt: skip
_STAGES: tuple[LogStage, ...] = get_args(LogStage)
# Size, and time of the last change.
_Version = tuple[int, int]


@dataclass(frozen=True, kw_only=True)
class CaseLogs:
    """Where the logs of a case are. stem: of their names. before: those from earlier runs."""

    folder: Path
    stem: str
    before: Mapping[LogStage, _Version]

    def path(self, stage: LogStage) -> Path:
        """Return where the log of a stage is, whether there is one or not."""
        return _path(self.folder, self.stem, stage)

    def written(self) -> dict[str, str]:
        """Return the logs, by stage, that something was written to since the case was opened."""
        now = _versions(self.folder, self.stem)
        return {
            stage: str(self.path(stage))
            for stage, version in now.items()
            if self.before.get(stage) != version
        }


def logs_of(store: Store, label: str, nodeid: str) -> CaseLogs:
    """Return the logs of the case that messages call `label`.

    Args:
        store: Where they are.
        label: The case's name in messages.
        nodeid: The id of its test: cases of two test files may have one name.
    """
    stem = f"{slug(label)}-{hashlib.sha256(os.fsencode(nodeid)).hexdigest()[:6]}"
    return CaseLogs(folder=store.logs, stem=stem, before=_versions(store.logs, stem))


def _path(folder: Path, stem: str, stage: LogStage) -> Path:
    return folder / f"{stem}-{stage}.log"


def _versions(folder: Path, stem: str) -> dict[LogStage, _Version]:
    found: dict[LogStage, _Version] = {}
    for stage in _STAGES:
        with contextlib.suppress(OSError):
            status = _path(folder, stem, stage).stat()
            # An empty one: a job was started, and printed nothing.
            if status.st_size:
                found[stage] = (status.st_size, status.st_mtime_ns)
    return found
