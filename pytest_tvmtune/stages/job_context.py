"""How the jobs of a case are run, and the call that most of them make."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from pytest_tvmtune.core.job_stage import JobStage
from pytest_tvmtune.core.results.progress import StageProgress
from pytest_tvmtune.core.tensors.signature import Array
from pytest_tvmtune.processes.job import JobContext, Where
from pytest_tvmtune.relax.measuring.session import EntryCall
from pytest_tvmtune.stages.case import Case
from pytest_tvmtune.stages.case_logs import LogStage


def job_context(
    case: Case, stage: LogStage, *, timeout_s: float | None = None, where: Where = "forked"
) -> JobContext:
    """Return how a job of a case is run.

    Args:
        case: The case.
        stage: What its log is called.
        timeout_s: For each stage that the job enters; None for the case's own.
        where: The kind of process.

    Returns:
        The context.

    """
    return JobContext(
        scratch=case.store.scratch,
        log_path=case.log_path(stage),
        timeout_s=case.options.timeout_s if timeout_s is None else timeout_s,
        num_threads=case.num_threads,
        on_stage=_observer(case),
        where=where,
    )


def entry_call(
    case: Case, inputs: Sequence[Array] | None = None, *, timeout_s: float = 0.0
) -> EntryCall:
    """Return the call of a case's entry, with its own parameters.

    inputs: None for its own. timeout_s: what a job may take, if that is more than usual.
    """
    remote = case.remote
    if remote is not None:
        remote = replace(remote, session_s=max(remote.session_s, timeout_s))
    return EntryCall(
        entry=case.model.signature.entry,
        target=case.target_json,
        params=case.model.params,
        inputs=case.model.inputs if inputs is None else tuple(inputs),
        remote=remote,
        num_threads=case.num_threads,
    )


def _observer(case: Case) -> Callable[[JobStage, float], None] | None:
    observer = case.run_context.on_progress
    if observer is None:
        return None
    return lambda stage, spent_s: observer(
        StageProgress(label=case.label, stage=stage.text, spent_s=spent_s)
    )
