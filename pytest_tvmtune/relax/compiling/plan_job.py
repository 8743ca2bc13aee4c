"""Job: find the tuning tasks of a module."""

from __future__ import annotations

from dataclasses import dataclass

from pytest_tvmtune.core.job_stage import JobStage
from pytest_tvmtune.core.results.task_result import Task
from pytest_tvmtune.processes.job import Job, WorkerContext
from pytest_tvmtune.relax import compat
from pytest_tvmtune.relax.compiling.prepared_module import extract, prepare


@dataclass(frozen=True, kw_only=True)
class Request:
    """A module in TVM's JSON, the target in JSON, and whether it is prepacked."""

    mod_text: str
    target: str
    prepack: bool


@dataclass(frozen=True, kw_only=True)
class Result:
    """The tasks."""

    tasks: tuple[Task, ...]


def run(request: Request, context: WorkerContext[None]) -> Result:
    """Prepare the module as the stock pipeline does before it tunes, and extract its tasks.

    Args:
        request: The module.
        context: Of this process.

    Returns:
        The tasks.

    """
    context.enter_stage(JobStage("preparing the module"))
    mod = compat.load_json(request.mod_text)
    target = compat.Target(request.target)
    prepared = prepare(mod, target, prepack=request.prepack)
    return Result(tasks=tuple(task for task, _ in extract(prepared, target)))


JOB = Job(run=run)
