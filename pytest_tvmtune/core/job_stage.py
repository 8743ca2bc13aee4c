"""The stage of a job: in words for messages, and by kind for decisions."""

from __future__ import annotations

from typing import Literal, NamedTuple

StageKind = Literal["other", "waiting", "trials", "first run", "kernel", "loading the baseline"]


class JobStage(NamedTuple):
    """One stage of a job.

    text: for messages; "" once the job is over. kind: what decisions are taken on. kernel: the
    kernel that runs, of the kind `kernel`.
    """

    text: str = ""
    kind: StageKind = "other"
    kernel: str = ""


STARTING = JobStage("start of the process")
# A stage that may last: another process has the machine's cores.
WAITING = JobStage("waiting for the machine's cores", "waiting")
FIRST_RUN = JobStage("first run with these inputs", "first run")
LOADING_BASELINE = JobStage("loading the baseline's artifact", "loading the baseline")
LOADING_OTHER = JobStage("loading another artifact to compare with")
